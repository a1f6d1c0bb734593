"""Jobs with another configuration, beside the row that they vary: of generators, of learners."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from diffuprompt.jobs import NO_GENERATOR
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
    timed_on,
)
from diffuprompt.studies.plug_in.design import DECIDING

Key = tuple[str, str, Variant, str]  # learner, generator, variant, setting
CONTROLLED = ("own prompts", "regression")  # what a generator is compared with beside the default


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
    methods = [r for r in section.ablations if r.is_method and r.generator != NO_GENERATOR]
    caption = (
        "Differences to the same job without the setting, and to the own prompts and the "
        "regression of the job itself: paired, with 95 % intervals."
    )
    return _parts(section, [r for r in methods if _job(r) not in swept], "Ablations", caption)


def setting_parts(section: Section) -> tuple[SectionPart, ...]:
    """Return the table of learners with other settings, or nothing where there are none."""
    alone = [r for r in section.ablations if r.is_method and r.generator == NO_GENERATOR]
    caption = "Differences to the learner's recipe: paired, with 95 % intervals."
    return _parts(section, alone, "Other settings of learners", caption)


def _parts(
    section: Section, shown: Sequence[Row], title: str, caption: str
) -> tuple[SectionPart, ...]:
    """Return the table of rows beside those that they vary, and of generators' their controls."""
    if not shown:
        return ()
    known = (*section.rows, *section.ablations)
    every = {(r.learner, r.generator, r.variant, r.setting): r for r in known}
    metrics = section.metrics or tuple(shown[0].per_seed)
    names = [metric_name(m) for m in metrics]
    generated = shown[0].generator != NO_GENERATOR
    decides = "h" if "h" in metrics else metrics[0]
    rows: list[tuple[Cell, ...]] = []
    for row in shown:
        without = every.get((row.learner, row.generator, row.variant, ""))
        default = _intervals(row, without)
        values = tuple(number(row.mean(m), 2) for m in metrics)
        differences = tuple(difference(default.get(m)) for m in metrics)
        controls = _beside_controls(row, every, decides) if generated else ()
        told = (number(row.costs.train_s, 1), Number(value=len(row.seeds), digits=0))
        rows.append((_name(row, without), *values, *differences, *controls, *told))
    columns = (
        "Job",
        *names,
        *(f"{name} − default" for name in names),
        *(
            (*(f"{metric_name(decides)} − {of}" for of in CONTROLLED), "Spread")
            if generated
            else ()
        ),
        "Training s",
        "Seeds",
    )
    place = timed_on((row.name, row.costs) for row in shown)
    table = Table(columns=columns, rows=tuple(rows), caption=f"{caption} {place}".rstrip())
    return (SectionPart(heading=title, table=table),)


def _name(row: Row, default: Row | None) -> str:
    """Return a row's name, with its precision where that of the row beside it is another one."""
    differs = default is not None and default.precision != row.precision
    return f"{row.name} ({row.precision})" if differs else row.name


def _beside_controls(row: Row, every: Mapping[Key, Row], measure: str) -> tuple[Cell, ...]:
    """Return the differences of a measure to `CONTROLLED`, and the spread of the draws."""
    regression = Variant.of_control(DECIDING[0], row.generator)
    controls = (every.get((row.learner, row.generator, v, row.setting)) for v in (OWN, regression))
    over = [difference(_intervals(row, control).get(measure)) for control in controls]
    return (*over, number(row.draw_spread, 2))
