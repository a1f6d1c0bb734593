"""Rows with settings that are none of the study's: what somebody tried, on the tests it names."""

from __future__ import annotations

from collections.abc import Iterator

from diffuprompt.report import Cell, ExpressionIntervals, MethodRow, Table
from diffuprompt.studies.grounding.design import MEASURE_NAMES
from diffuprompt.studies.grounding.findings import WorldFindings, title_of
from diffuprompt.studies.grounding.tables import MAIN, difference_cell, mean_cell, seeds_cell

AS_IT_IS = "as it is"
COLUMNS = (
    "Method", "Setting", "Test set", *(MEASURE_NAMES[m] for m in MAIN), "R@1 − as it is", "Seeds",
)  # fmt: skip


def other_settings_table(found: WorldFindings) -> Table | None:
    """Return them below the main row of their method; None where there are none."""
    if not found.others:
        return None
    caption = (
        "Settings that the study does not ask for, beside the main row of their method. Test sets "
        "that end in /val are the expressions on which settings are chosen."
    )
    return Table(columns=COLUMNS, rows=tuple(_rows(found)), caption=caption)


def _rows(found: WorldFindings) -> Iterator[tuple[Cell, ...]]:
    for method in dict.fromkeys(row.method for row in found.others):
        main = found.rows.get(method)
        others = [row for row in found.others if row.method == method]
        for test in dict.fromkeys(test for row in others for test in row.tests):
            rows = [row for row in (main, *others) if row is not None]
            intervals = ExpressionIntervals(rows, test, resamples=found.own.resamples)
            for row in rows:
                if (scored := row.on(test)) is not None:
                    yield _row(scored, main, intervals)


def _row(
    row: MethodRow, main: MethodRow | None, intervals: ExpressionIntervals
) -> tuple[Cell, ...]:
    gain = None
    if row.setting and main is not None:
        gain = intervals.difference(row, main, "r1")
    return (
        title_of(row.method),
        row.setting or AS_IT_IS,
        intervals.test,
        *(mean_cell(intervals.mean(row, measure)) for measure in MAIN),
        difference_cell(gain),
        seeds_cell(row),
    )
