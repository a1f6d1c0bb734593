"""The generator as a classifier: what its density adds to the logits of generated prompts.

Two tables: accuracy with its cost, and paired differences to logits alone, to the regression and
to the control that puts the distance to the regression in the place of the density.
"""

from __future__ import annotations

from dataclasses import replace

from diffuprompt.record import Judging, Variant
from diffuprompt.report.aggregate import Section
from diffuprompt.report.compare import Comparison, compare
from diffuprompt.report.cost_table import number
from diffuprompt.report.differences import differences_table
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.names import metric_name
from diffuprompt.report.rows import Row
from diffuprompt.report.tables import Cell, Number, Table

HEADING = "The generator as a classifier"
CAPTION = (
    "Accuracy in per cent, mean ± population standard deviation (ddof 0) over seeds, where the "
    "most probable names were judged by the prompts that they would ask for, beside the logits; "
    "without a word behind the name: the logits alone. Judging ms: what that takes for an image."
)


def density_parts(section: Section) -> tuple[SectionPart, ...]:
    """Return the tables of a section whose names were judged; none without such scores."""
    judged = _judged(section)
    if not judged:
        return ()
    rows: list[Row] = []
    for row in judged:
        both = (logits_of(section, row), row)
        rows += [r for r in both if r is not None and all(r is not known for known in rows)]
    measures = [m for m in section.metrics if any(m in row.per_seed for row in judged)]
    table = Table(
        columns=("Method", *map(metric_name, measures), "Judging ms", "Seeds"),
        rows=tuple(
            (
                row.name,
                *(_cell(row, measure) for measure in measures),
                number(row.costs.judge_ms, 2),
                Number(value=len(row.seeds), digits=0),
            )
            for row in rows
        ),
        caption=CAPTION,
    )
    parts = [SectionPart(heading=HEADING, table=table)]
    if found := density_comparisons(section):
        table = differences_table(found)
        parts.append(SectionPart(heading=f"{HEADING}: paired differences", table=table))
    return tuple(parts)


def density_comparisons(section: Section) -> tuple[Comparison, ...]:
    """Compare judged names with logits alone and regression, and a density with its distance."""
    pairs = [
        (row, other)
        for row in _judged(section)
        for other in (
            logits_of(section, row),
            _regression_of(section, row),
            _distance_of(section, row),
        )
        if other is not None
    ]
    return tuple(c for a, b in pairs if (c := compare(a, b)) is not None)


def logits_of(section: Section, row: Row) -> Row | None:
    """Return the row of the same generated prompts without judging."""
    plain = row.variant.model_copy(update={"judged": None})
    return _find((*section.rows, *section.ablations), replace(row, variant=plain))


def _judged(section: Section) -> tuple[Row, ...]:
    """Return the rows of main jobs, and of ablations."""
    ablated = tuple(row for row in section.ablated_sweeps if row.variant.judged is not None)
    return (*section.judged, *ablated)


def _regression_of(section: Section, row: Row) -> Row | None:
    """Return the control that reads the mean of V* and draws nothing, scored by its logits."""
    control = Variant.of_control("regression", row.generator)
    return _find((*section.rows, *section.ablations), replace(row, variant=control))


def _distance_of(section: Section, row: Row) -> Row | None:
    """Return the control of a density; None of the control itself, and where there is none."""
    judged = row.variant.judged
    if judged is None or judged.by != "density":
        return None
    # it asks at no noise level
    other = judged.model_copy(update={"by": "distance", "sigmas": Judging().sigmas})
    control = row.variant.model_copy(update={"judged": other})
    return _find(_judged(section), replace(row, variant=control))


def _find(rows: tuple[Row, ...], like: Row) -> Row | None:
    kind = (like.learner, like.generator, like.variant, like.setting)
    return next((r for r in rows if (r.learner, r.generator, r.variant, r.setting) == kind), None)


def _cell(row: Row, measure: str) -> Cell:
    mean = row.mean(measure)
    return None if mean is None else Number(value=mean, spread=row.std(measure))
