"""Jobs with another configuration, beside the row that they vary: of generators, of learners."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

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
    """Return the table of generators' ablations, or nothing where there are none.

    ``swept`` are learner, generator and setting of the jobs that a sweep shows already.
    """
    shown = [r for r in _methods(section, generated=True) if _job(r) not in swept]
    every = _every(section)

    def controls(row: Row) -> tuple[Cell, ...]:
        job = (row.learner, row.generator)
        own = _intervals(row, every.get((*job, OWN, row.setting)))
        regression = Variant.of_control(DECIDING[0], row.generator)
        over_regression = _intervals(row, every.get((*job, regression, row.setting)))
        spread = number(row.draw_spread, 2)
        return difference(own.get("h")), difference(over_regression.get("h")), spread

    caption = (
        "Differences to the same job without the setting, and to the own prompts and the "
        "regression of the job itself: paired, with 95 % intervals."
    )
    more = ("H − own prompts", "H − regression", "Spread")
    return _parts(section, shown, "Ablations", caption, more, controls)


def setting_parts(section: Section) -> tuple[SectionPart, ...]:
    """Return the table of learners with other settings, or nothing where there are none."""
    caption = "Differences to the learner's recipe: paired, with 95 % intervals."
    shown = _methods(section, generated=False)
    return _parts(section, shown, "Other settings of learners", caption, (), lambda _: ())


def _methods(section: Section, *, generated: bool) -> list[Row]:
    rows = [row for row in section.ablations if row.is_method]
    return [row for row in rows if (row.generator != "none") == generated]


def _every(section: Section) -> dict[tuple[str, str, Variant, str], Row]:
    known = (*section.rows, *section.ablations)
    return {(r.learner, r.generator, r.variant, r.setting): r for r in known}


def _parts(
    section: Section,
    shown: Sequence[Row],
    title: str,
    caption: str,
    more: Collection[str],
    cells: Callable[[Row], tuple[Cell, ...]],
) -> tuple[SectionPart, ...]:
    """Return the table of rows beside those that they vary; ``cells`` has a cell per ``more``."""
    if not shown:
        return ()
    metrics, every = section.metrics or tuple(shown[0].per_seed), _every(section)
    rows: list[tuple[Cell, ...]] = []
    for row in shown:
        default = _intervals(row, every.get((row.learner, row.generator, row.variant, "")))
        values = tuple(number(row.mean(m), 2) for m in metrics)
        differences = tuple(difference(default.get(m)) for m in metrics)
        told = (number(row.costs.train_s, 1), Number(value=len(row.seeds), digits=0))
        rows.append((row.name, *values, *differences, *cells(row), *told))
    names = [metric_name(m) for m in metrics]
    columns = ("Job", *names, *(f"{n} − default" for n in names), *more, "Training s", "Seeds")
    table = Table(columns=columns, rows=tuple(rows), caption=caption)
    return (SectionPart(heading=title, table=table),)
