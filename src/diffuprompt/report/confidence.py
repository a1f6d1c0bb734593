"""The tables of how far a method's confidence can be trusted, made of a section's records."""

from __future__ import annotations

from statistics import fmean

from diffuprompt.record import SUBSETS, Record
from diffuprompt.report.aggregate import Section
from diffuprompt.report.extension import SectionPart
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
CALIBRATED = {  # heading -> statistic of a record
    "ECE": "ece_before",
    "ECE calibrated": "ece_after",
    **{
        f"{name} {score}": f"unknown_{measure}_{score}"
        for name, measure in (("AUROC", "auroc"), ("FPR", "fpr95"))
        for score in ("energy", "logit", "probability")
    },
}
HELD_OUT = (
    "Means over seeds, in per cent, on held-out pictures. ECE: expected calibration error, 15 "
    "bins, before and after a temperature. AUROC: how well a score tells these pictures from those "
    "of classes that were not learned; FPR: how many of those pass where 95 % of these do. The "
    "scores: log-sum-exp of the logits, the largest logit, the largest probability."
)


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


def calibration_part(section: Section) -> SectionPart | None:
    """Return calibrations of methods on pictures that nothing was trained on; None without any."""
    rows = [(row, _records(section, row)) for row in section.main if row.is_method]
    cells = [
        (row.name, *(_mean([r.statistics.get(key) for r in of]) for key in CALIBRATED.values()))
        for row, of in rows
    ]
    shown = tuple(each for each in cells if any(cell is not None for cell in each[1:]))
    if not shown:
        return None
    table = Table(columns=("Method", *CALIBRATED), rows=shown, caption=HELD_OUT)
    return SectionPart(heading="Honest probabilities, and pictures of no class", table=table)


def _records(section: Section, row: Row) -> list[Record]:
    """Return the records of a row's jobs."""
    return [
        source.record
        for source in section.sources
        if source.record.job.setting == row.setting
        and (source.record.job.learner, source.record.job.generator) == (row.learner, row.generator)
    ]


def _cell(section: Section, row: Row, subset: str, metric: str) -> Cell:
    """Return the mean over the row's seeds, or None unless every seed has it."""
    scores = [job.score(row.variant, subset) for job in _records(section, row)]
    return _mean([None if score is None else score.metrics.get(metric) for score in scores])


def _mean(values: list[float | None]) -> Cell:
    """Return the mean where every job has a value; one that lacks it leaves a gap."""
    known = [value for value in values if value is not None]
    return Number(value=fmean(known)) if known and len(known) == len(values) else None
