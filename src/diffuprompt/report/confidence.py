"""The table of how far a method's confidence can be trusted, made of a section's records."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

from diffuprompt.record import Score
from diffuprompt.report.aggregate import Row, Section
from diffuprompt.report.names import METRICS, is_control, row_order
from diffuprompt.report.tables import Cell, Number, Table

Measure = Callable[[Score], float | None]


def _selective(coverage: str) -> Measure:
    return lambda score: (score.selective or {}).get(coverage)


MEASURES: dict[str, Measure] = {
    "accuracy": lambda score: score.accuracy,
    "ECE": lambda score: score.ece,
    **{f"at {coverage} %": _selective(coverage) for coverage in ("50", "80", "90")},
    "AURC": lambda score: score.aurc,
}
EXPLAINED = {
    "ECE": "ECE: expected calibration error, 15 bins.",
    "at 50 %": "At 50 %: accuracy when only the most confident half is answered.",
    "AURC": "AURC: mean error over all coverages, most confident first.",
}


def confidence_table(section: Section) -> Table:
    """One row a method, controls aside; a measure that no record has gets no column.

    Means over draws of a generator, which the main table does not show, have a row of their own.
    """
    rows = [row for row in section.rows if not is_control(row.variant)]
    rows += [row for row in section.sweeps if "@samples=" in row.variant]
    rows.sort(key=lambda row: row_order(row.learner, row.generator, row.variant))
    columns: dict[str, list[Cell]] = {}
    caption = ["Means over seeds, in per cent."]
    for subset in (metric for metric in METRICS if metric != "h"):
        for name, measure in MEASURES.items():
            cells = [_cell(section, row, subset, measure) for row in rows]
            if any(cell is not None for cell in cells):
                columns[f"{METRICS[subset]} {name}"] = cells
                caption.append(EXPLAINED.get(name, ""))
    named = ([row.name for row in rows], *columns.values())
    rows_shown = tuple(zip(*named, strict=True))
    text = " ".join(filter(None, dict.fromkeys(caption)))
    return Table(columns=("Method", *columns), rows=rows_shown, caption=text)


def _cell(section: Section, row: Row, subset: str, measure: Measure) -> Cell:
    """Return the mean over the row's seeds, or None unless every seed has it."""
    jobs = [
        source.record
        for source in section.sources
        if source.record.job.setting == row.setting
        and (source.record.job.learner, source.record.job.generator) == (row.learner, row.generator)
    ]
    scores = [score for job in jobs if (score := job.score(row.variant, subset)) is not None]
    values = [value for score in scores if (value := measure(score)) is not None]
    return Number(value=fmean(values)) if values and len(values) == len(row.seeds) else None
