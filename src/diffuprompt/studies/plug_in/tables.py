"""The table of the plug-in study: what diffusion adds to each learner, and on average."""

from __future__ import annotations

from diffuprompt.report import (
    METRICS,
    OWN,
    Cell,
    Comparison,
    Interval,
    SectionPart,
    Table,
    difference,
    learner_name,
    number,
)
from diffuprompt.studies.plug_in.design import DECIDING
from diffuprompt.studies.plug_in.gains import Gains

GAIN_CAPTION = (
    "H gains are paired differences in points with 95 % bootstrap intervals over seeds and images; "
    "the mean's interval draws the same images for all learners. Above controls: the intervals of "
    "diffusion minus regression and of diffusion minus shuffled pi are both above zero. Spread: "
    "how far the prompts of four draws for one training image lie apart, as a share of how far V* "
    "is from V0."
)


def gains_part(gains: Gains) -> SectionPart:
    """Return the table of learners."""
    return SectionPart(heading="Diffusion plugged into each learner", table=gains_table(gains))


def gains_table(gains: Gains) -> Table:
    """One row per learner and a last one with the mean gain."""
    rows: list[tuple[Cell, ...]] = []
    for gain in gains.each:
        own = tuple(number(gain.own.mean(m), 2) for m in ("base", "new", "h"))
        generated = tuple(number(gain.generated.mean(m), 2) for m in ("base", "new", "h"))
        over = (gain.over[OWN], *map(gain.over_control, DECIDING))
        above = "yes" if gain.is_above_controls else "no"
        spread = number(gain.generated.draw_spread, 2)
        rows.append(
            (
                learner_name(gain.learner),
                *own,
                *generated,
                *(difference(_h(c)) for c in over),
                spread,
                above,
            )
        )
    last = f"{len(gains.above)} of {len(gains.each)}"
    gap: tuple[Cell, ...] = (None,) * 6
    rows.append(("Mean", *gap, difference(gains.mean), None, None, None, last))
    columns = (
        "Learner",
        *(f"own {METRICS[m]}" for m in ("base", "new", "h")),
        *(f"+ diffusion {METRICS[m]}" for m in ("base", "new", "h")),
        "H gain",
        "over regression",
        "over shuffled pi",
        "spread",
        "above controls",
    )
    return Table(columns=columns, rows=tuple(rows), caption=GAIN_CAPTION)


def _h(comparison: Comparison | None) -> Interval | None:
    return None if comparison is None else comparison.intervals.get("h")
