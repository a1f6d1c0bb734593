"""The tables of the plug-in study: learners, and rivals of diffusion."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.report import (
    METRICS,
    OWN,
    Cell,
    Comparison,
    Interval,
    Number,
    Row,
    Section,
    SectionPart,
    Table,
    compare,
    difference,
    generator_name,
    learner_name,
    number,
)
from diffuprompt.studies.plug_in.design import DECIDING
from diffuprompt.studies.plug_in.gains import GENERATED, Gain, Gains

GAIN_CAPTION = (
    "H gains are paired differences in points with 95 % bootstrap intervals over seeds and images; "
    "the mean's interval draws the same images for all learners. Above controls: the intervals of "
    "diffusion minus regression and of diffusion minus shuffled pi are both above zero. Spread: "
    "how far the prompts of four draws for one training image lie apart, as a share of how far V* "
    "is from V0."
)


def gains_parts(section: Section, gains: Gains) -> tuple[SectionPart, ...]:
    """Return the table of learners, and one of rivals for each learner that has some."""
    parts = [SectionPart(heading="Diffusion plugged into each learner", table=gains_table(gains))]
    for gain in gains.each:
        rivals = [r for r in section.main if _is_rival(r, gain.learner)]
        if rivals:
            heading = f"Diffusion and its rivals ({learner_name(gain.learner)})"
            parts.append(SectionPart(heading=heading, table=rivals_table(gain, rivals)))
    return tuple(parts)


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


def _is_rival(row: Row, learner: str) -> bool:
    generated = row.variant.prompts == "generated"
    return row.learner == learner and generated and row.variant != GENERATED


def rivals_table(gain: Gain, rivals: Sequence[Row]) -> Table:
    """One row per generator: accuracy, gain of H over own prompts, what diffusion has over it.

    A rival's accuracies are of the seeds that it shares with the gain, as its differences are.
    """
    rows: list[tuple[Cell, ...]] = []
    seeds = gain.own.seeds
    shared = [r.only([s for s in r.seeds if s in seeds] or r.seeds) for r in rivals]
    for row in (gain.own, gain.generated, *shared):
        comparable = row.precision == gain.own.precision
        over_own = compare(row, gain.own) if comparable and row is not gain.own else None
        under = compare(gain.generated, row) if comparable and row is not gain.generated else None
        rows.append(
            (
                "own prompts" if row is gain.own else generator_name(row.variant.generator),
                *(number(row.mean(m), 2) for m in ("base", "new", "h")),
                difference(_h(over_own)),
                difference(_h(under)),
                number(row.costs.train_s, 1),
                number(row.costs.generate_ms, 2),
                number(row.costs.classify_ms, 2),
                Number(value=len(row.seeds), digits=0),
            )
        )
    columns = (
        "Prompts",
        *(METRICS[m] for m in ("base", "new", "h")),
        "H gain over own",
        "diffusion minus it (H)",
        "Training s",
        "generate ms",
        "classify ms",
        "Seeds",
    )
    caption = (
        "The same learner, overfitted prompts and training budget under every generator. Paired "
        "differences in points with 95 % bootstrap intervals; milliseconds per image."
    )
    return Table(columns=columns, rows=tuple(rows), caption=caption)
