"""What `diffuprompt train` says of pictures that it did not train on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffuprompt.record import Record

FEW = 30  # pictures: below, the interval is too wide to choose by


def held_out(record: Record, zero_shot: Sequence[bool] = ()) -> str:
    """Return one line for each way of making prompts: accuracy, and Wilson's 95 % interval.

    ``zero_shot`` are the hits of the same backbone without training, which come first.
    """
    from diffuprompt.report import generator_name, learner_name

    rows = [("before training (zero-shot)", zero_shot)] if zero_shot else []
    for score in record.scores:
        variant = score.variant
        if variant.prompts != "control" and score.dataset == record.job.dataset:
            made = f" + {generator_name(variant.generator)}" if variant.generator else ""
            rows.append((learner_name(record.job.learner) + made, score.hit_list()))
    lines = [_line(name, hits) for name, hits in rows]
    if min(len(hits) for _, hits in rows) < FEW:
        lines.append("these are few pictures: more of them narrow the interval")
    return "\n".join(lines)


def _line(name: str, hits: Sequence[bool]) -> str:
    from diffuprompt.report import wilson

    right, total = sum(hits), len(hits)
    low, high = wilson(right, total)
    return (
        f"{name}: {100 * right / total:.1f} % right of {total} held-out pictures "
        f"(95 % interval {low:.1f} to {high:.1f})"
    )
