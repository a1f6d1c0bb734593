"""Expressions drawn with what a grounder and the frozen detector make of them."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.grounding import (
    FIRST,
    OTHER,
    TRUE,
    Expressions,
    Grounded,
    Grounder,
    Mark,
    Strip,
    picture_of,
)
from diffuprompt.studies.grounding.choosing import KINDS, Choice

LEGEND = "Green: the true box; orange: Diff-Prompt's best; blue: the frozen detector's best."


def strips_of(
    grounder: Grounder,
    expressions: Expressions,
    chosen: Sequence[Choice],
    *,
    scope: str,
    samples: int,
) -> list[Strip]:
    """Return a strip for each chosen expression.

    Args:
        grounder: what is shown.
        expressions: the set that ``chosen`` counts in.
        chosen: of its expressions.
        scope: the content of the set, so that draws are those that it is scored with.
        samples: draws of masks, where it draws.
    """
    rows = [choice.row for choice in chosen]
    batch = expressions.batch(rows, grounder.side)
    draws = samples if grounder.draws else 1
    every = grounder.on(batch, rows, scope=scope, samples=draws)
    frozen = grounder.frozen.on(batch, rows)
    return [
        Strip(
            picture=picture_of(batch.pixels[i]),
            title=f"{'found' if choice.found else 'missed'}: {batch.texts[i]}",
            note=_note(KINDS.get(choice.kind, choice.kind), one, draws),
            marks=(
                _mark(batch.boxes[i].tolist(), TRUE, 3),
                _mark(other.best[0].tolist(), OTHER, 1),
                _mark(one.best[0].tolist(), FIRST, 2),
            ),
            maps=one.maps,
        )
        for i, (choice, one, other) in enumerate(zip(chosen, every, frozen, strict=True))
    ]


def _note(kind: str, found: Grounded, draws: int) -> str:
    agree = f"{100 * found.agreement:.0f}% of {draws} draws agree" if draws > 1 else ""
    return "; ".join(part for part in (kind, agree) if part)


def _mark(box: Sequence[float], colour: str, width: int) -> Mark:
    x0, y0, x1, y1 = box
    return Mark(box=(x0, y0, x1, y1), colour=colour, width=width)
