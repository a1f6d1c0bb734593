"""Diffusion beside other generators of the same learner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from diffuprompt.report import (
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
    metric_name,
    number,
    timed_on,
)
from diffuprompt.studies.plug_in.gains import GENERATED, Gains

CAPTION = (
    "The same learner, overfitted prompts and training budget under every generator. Paired "
    "differences in points with 95 % bootstrap intervals; milliseconds per image."
)


def rival_parts(section: Section, gains: Gains | None) -> tuple[SectionPart, ...]:
    """Return a table for each learner that has other generators than diffusion.

    With gains the rows are those of the gain, on the seeds that all its comparisons share. Where
    several generators were trained under one other setting, these have a table too.
    """
    parts = []
    for own, generated in _pairs(section, gains):
        every = (*section.main, *section.ablations)
        rivals = [row for row in every if _is_rival(row, generated)]
        if rivals:
            setting = f", {own.setting}" if own.setting else ""
            heading = f"Diffusion and its rivals ({learner_name(own.learner)}{setting})"
            table = _table(own, generated, rivals, section.metrics)
            parts.append(SectionPart(heading=heading, table=table))
    return tuple(parts)


def _pairs(section: Section, gains: Gains | None) -> Iterator[tuple[Row, Row]]:
    """Yield each learner's own prompts and those of diffusion, other settings last."""
    if gains is not None:
        yield from ((gain.own, gain.generated) for gain in gains.each)
    rows = (*(section.main if gains is None else ()), *section.ablations)
    for generated in (row for row in rows if row.variant == GENERATED):
        own = [r for r in rows if r.variant == OWN and _job(r) == _job(generated)]
        yield from ((row, generated) for row in own[:1])


def _job(row: Row) -> tuple[str, str]:
    return row.learner, row.setting


def _is_rival(row: Row, diffusion: Row) -> bool:
    made = row.variant.prompts == "generated" and row.generator != diffusion.generator
    return made and _job(row) == _job(diffusion)


def _table(own: Row, generated: Row, rivals: Sequence[Row], metrics: Sequence[str]) -> Table:
    """One row per generator: accuracy, gain over own prompts, what diffusion has over it.

    Differences are of H where there is one. A rival's accuracies are of the seeds that it shares
    with the own prompts, as its differences are.
    """
    shown = [m for m in ("base", "new", "h") if m in metrics] or list(metrics[:1])
    decides, rows = shown[-1], []
    shared = [r.only([s for s in r.seeds if s in own.seeds] or r.seeds) for r in rivals]
    for row in (own, generated, *shared):
        comparable = row.precision == own.precision
        over_own = compare(row, own) if comparable and row is not own else None
        under = compare(generated, row) if comparable and row is not generated else None
        cells: tuple[Cell, ...] = (
            "own prompts" if row is own else generator_name(row.variant.generator),
            *(number(row.mean(m), 2) for m in shown),
            difference(_of(over_own, decides)),
            difference(_of(under, decides)),
            number(row.costs.train_s, 1),
            number(row.costs.generate_ms, 2),
            number(row.costs.classify_ms, 2),
            Number(value=len(row.seeds), digits=0),
        )
        rows.append(cells)
    columns = (
        "Prompts",
        *(metric_name(m) for m in shown),
        f"{metric_name(decides)} gain over own",
        f"diffusion minus it ({metric_name(decides)})",
        "Training s",
        "generate ms",
        "classify ms",
        "Seeds",
    )
    place = timed_on((row.name, row.costs) for row in (own, generated, *shared))
    return Table(columns=columns, rows=tuple(rows), caption=f"{CAPTION} {place}".rstrip())


def _of(comparison: Comparison | None, measure: str) -> Interval | None:
    return None if comparison is None else comparison.intervals.get(measure)
