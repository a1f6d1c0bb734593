"""The table of how far a method's confidence can be trusted, made of a section's records."""

from __future__ import annotations

from statistics import fmean

from diffuprompt.record import SUBSETS
from diffuprompt.report.aggregate import Section
from diffuprompt.report.names import METRICS, is_control, row_order
from diffuprompt.report.rows import Row
from diffuprompt.report.tables import Cell, Number, Table

MEASURES = {  # heading -> metric of a score
    "accuracy": "accuracy",
    "ECE": "ece",
    **{f"at {share} %": f"selective_{share}" for share in (50, 80, 90)},
    "AURC": "aurc",
}
EXPLAINED = {
    "ECE": "ECE: expected calibration error, 15 bins.",
    "at 50 %": "At 50 %: accuracy when only the most confident half is answered.",
    "AURC": "AURC: mean error over all coverages, most confident first.",
}


def confidence_table(section: Section) -> Table | None:
    """One row per method, controls aside; a metric that no record has gets no column.

    Means over draws of a generator, which the main table does not show, have a row of their own.
    """
    rows = [row for row in section.rows if not is_control(row.variant)]
    rows += [row for row in section.sweeps if row.variant.draws > 1]
    rows.sort(key=lambda row: row_order(row.learner, row.generator, row.variant))
    columns: dict[str, list[Cell]] = {}
    caption = ["Means over seeds, in per cent."]
    for subset in SUBSETS:
        for name, metric in MEASURES.items():
            cells = [_cell(section, row, subset, metric) for row in rows]
            if any(cell is not None for cell in cells):
                columns[f"{METRICS[subset]} {name}"] = cells
                caption.append(EXPLAINED.get(name, ""))
    named = ([row.name for row in rows], *columns.values())
    rows_shown = tuple(zip(*named, strict=True))
    text = " ".join(filter(None, dict.fromkeys(caption)))
    return Table(columns=("Method", *columns), rows=rows_shown, caption=text)


def _cell(section: Section, row: Row, subset: str, metric: str) -> Cell:
    """Return the mean over the row's seeds, or None unless every seed has it."""
    jobs = [
        source.record
        for source in section.sources
        if source.record.job.setting == row.setting
        and (source.record.job.learner, source.record.job.generator) == (row.learner, row.generator)
    ]
    scores = [score for job in jobs if (score := job.score(row.variant, subset)) is not None]
    values = [score.metrics[metric] for score in scores if metric in score.metrics]
    return Number(value=fmean(values)) if values and len(values) == len(row.seeds) else None
