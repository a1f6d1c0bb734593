"""What `diffuprompt predict` shows: names, probabilities, and how far draws disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BAR_CELLS = 20
NONE = "none_of_these"
DOUBTS = ("disagreement", "std", "mutual_information")  # fields of hub.predictive.Predictive


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One image's most probable classes, best first, and how far draws of prompts disagree.

    ``doubt`` is empty without --samples, else the measures of `diffuprompt.hub.predictive`.
    ``none_of_these`` says whether it shows none of the names; None: nobody fitted a threshold.
    """

    best: tuple[tuple[str, float], ...]
    doubt: Mapping[str, float] = field(default_factory=dict)
    none_of_these: bool | None = None


def as_rows(
    paths: Sequence[Path], found: Sequence[Prediction], samples: int
) -> list[dict[str, object]]:
    """Return what --json prints: one object per image, probabilities and measures in full."""
    return [
        {
            "image": str(path),
            **({} if prediction.none_of_these is None else {NONE: prediction.none_of_these}),
            "predictions": [{"class": name, "probability": p} for name, p in prediction.best],
            **({"samples": samples, **prediction.doubt} if prediction.doubt else {}),
        }
        for path, prediction in zip(paths, found, strict=True)
    ]


def as_text(
    paths: Sequence[Path], found: Sequence[Prediction], samples: int = 1, *, bars: bool
) -> str:
    """Return one line per name, probabilities aligned over all images, bars where asked."""
    width = max((len(name) for prediction in found for name, _ in prediction.best), default=0)
    blocks = []
    for path, prediction in zip(paths, found, strict=True):
        lines = [str(path)]
        if prediction.none_of_these:
            lines.append("  none of these; the nearest are")
        for name, probability in prediction.best:
            bar = "  " + "█" * round(BAR_CELLS * probability) if bars else ""
            lines.append(f"  {name:<{width}}  {100 * probability:6.2f}%{bar}".rstrip())
        if doubt := prediction.doubt:
            lines.append(
                f"  over {samples} draws: {100 * doubt['disagreement']:.0f}% vote otherwise, "
                f"first ± {100 * doubt['std']:.2f}%, "
                f"mutual information {doubt['mutual_information']:.4f} nats"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
