"""The table of ablations: jobs with another configuration, beside the row that they vary."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from diffuprompt.record import Variant
from diffuprompt.report import (
    OWN,
    Cell,
    Interval,
    Number,
    Row,
    Section,
    SectionPart,
    Table,
    compare,
    difference,
    metric_name,
    number,
)
from diffuprompt.studies.plug_in.design import DECIDING


def _job(row: Row) -> tuple[str, str, str]:
    return row.learner, row.generator, row.setting


def _intervals(row: Row, other: Row | None) -> Mapping[str, Interval]:
    compared = compare(row, other) if other is not None and other is not row else None
    return {} if compared is None else compared.intervals


def ablation_parts(
    section: Section, swept: Collection[tuple[str, str, str]]
) -> tuple[SectionPart, ...]:
    """Return the table of ablations, or nothing where there are none.

    ``swept`` are learner, generator and setting of the jobs that a sweep shows already.
    """
    shown = [r for r in section.ablations if r.is_method and _job(r) not in swept]
    if not shown:
        return ()
    metrics = section.metrics or tuple(shown[0].per_seed)
    known = (*section.rows, *section.ablations)
    every = {(r.learner, r.generator, r.variant, r.setting): r for r in known}
    rows: list[tuple[Cell, ...]] = []
    for row in shown:
        job = (row.learner, row.generator)
        default = _intervals(row, every.get((*job, row.variant, "")))
        own = _intervals(row, every.get((*job, OWN, row.setting)))
        regression = Variant.of_control(DECIDING[0], row.generator)
        over_regression = _intervals(row, every.get((*job, regression, row.setting)))
        values = tuple(number(row.mean(m), 2) for m in metrics)
        differences = tuple(difference(default.get(m)) for m in metrics)
        controls = (difference(own.get("h")), difference(over_regression.get("h")))
        seeds = Number(value=len(row.seeds), digits=0)
        told = (number(row.draw_spread, 2), number(row.costs.train_s, 1))
        rows.append((row.name, *values, *differences, *controls, *told, seeds))
    columns = (
        "Job",
        *(metric_name(m) for m in metrics),
        *(f"{metric_name(m)} − default" for m in metrics),
        "H − own prompts",
        "H − regression",
        "Spread",
        "Training s",
        "Seeds",
    )
    caption = (
        "Differences to the same job without the setting, and to the own prompts and the "
        "regression of the job itself: paired, with 95 % intervals."
    )
    return (
        SectionPart(
            heading="Ablations", table=Table(columns=columns, rows=tuple(rows), caption=caption)
        ),
    )
