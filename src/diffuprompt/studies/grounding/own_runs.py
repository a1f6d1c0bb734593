"""Runs that are none of the study's: one plain table for each detector and training data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from diffuprompt.report import (
    RESAMPLES,
    Cell,
    ExpressionIntervals,
    GroundingSource,
    Interval,
    MethodRow,
    Number,
    Table,
    method_rows,
    number,
    to_markdown,
)
from diffuprompt.studies.grounding.design import MEASURE_NAMES

MEASURES = ("r1", "r5", "r10", "ub")
COLUMNS = (
    "Method", "Test set", *(MEASURE_NAMES[m] for m in MEASURES), "Trainable", "Total",
    "ms a picture", "n", "Seeds",
)  # fmt: skip
CAPTION = (
    "Per cent of test expressions, means over seeds with 95 % intervals over pictures. Trainable: "
    "parameters that learn from boxes. Total: all that runs. Milliseconds: making prompts and "
    "detecting, in batches."
)


def plain_tables(sources: Sequence[GroundingSource], *, resamples: int = RESAMPLES) -> str:
    """Return every method and test set of some records as Markdown.

    Raises `DataError` where the records of one detector and data set do not fit together (see
    `report.method_rows`).
    """
    ordered = sorted(sources, key=_of_one_table)
    tables = [
        f"## {data} with {detector}\n\n" + to_markdown(_table(list(each), resamples)).strip()
        for (data, detector, _), each in groupby(ordered, key=_of_one_table)
    ]
    return "\n\n".join(tables) + "\n"


def _of_one_table(source: GroundingSource) -> tuple[str, str, str]:
    job = source.record.job
    return (job.dataset, job.detector, job.detector_hash)


def _table(sources: Sequence[GroundingSource], resamples: int) -> Table:
    rows = method_rows(sources)
    tests = dict.fromkeys(test for row in rows for test in row.tests)
    found = {test: ExpressionIntervals(rows, test, resamples=resamples) for test in tests}
    cells = [_cells(row, found[test]) for test in tests for row in rows if test in row.tests]
    return Table(columns=COLUMNS, rows=tuple(cells), caption=CAPTION)


def _cells(row: MethodRow, intervals: ExpressionIntervals) -> tuple[Cell, ...]:
    name = f"{row.method}, {row.setting}" if row.setting else row.method
    means = (intervals.mean(row, measure) for measure in MEASURES)
    return (
        name,
        intervals.test,
        *map(_mean, means),
        number(row.mean(lambda r: r.trainable_parameters), 0),
        number(row.mean(lambda r: r.total_parameters), 0),
        number(row.milliseconds(intervals.test), 1),
        number(intervals.total, 0),
        ", ".join(map(str, row.seeds)),
    )


def _mean(interval: Interval | None) -> Cell:
    if interval is None:
        return None
    return Number(value=interval.estimate, interval=(interval.low, interval.high), digits=1)
