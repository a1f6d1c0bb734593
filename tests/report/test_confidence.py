"""The tables of confidence: means over seeds of what the records say, gaps where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffuprompt.record import Record, Variant
from diffuprompt.report.aggregate import build_sections
from diffuprompt.report.confidence import calibration_part, confidence_table
from diffuprompt.report.load import Source
from diffuprompt.report.tables import Table, plain

from . import factory


def changed(record: Record, made: str, **metrics: float | None) -> Record:
    """Return the record with other metrics in one variant's scores; None takes one away."""
    scores = []
    for score in record.scores:
        if score.variant == factory.variant(made):
            merged = {**score.metrics, **metrics}
            kept = {name: value for name, value in merged.items() if value is not None}
            score = score.model_copy(update={"metrics": kept})
        scores.append(score)
    return record.model_copy(update={"scores": tuple(scores)})


def table(records: list[Record]) -> Table:
    (section,) = build_sections([Source(path=Path("x"), record=record) for record in records])
    made = confidence_table(section)
    assert made is not None
    return made


def cells(made: Table, method: str) -> Mapping[str, str]:
    (row,) = (row for row in made.rows if row[0] == method)
    return dict(zip(made.columns, map(plain, row), strict=True))


def test_cells_are_means_over_seeds_and_controls_stay_out() -> None:
    records = [
        changed(factory.record(seed=seed), "diffusion", ece=2.0 * seed, aurc=1.0 + seed,
                selective_50=99.0, selective_80=90.0 + seed, selective_90=85.0)
        for seed in (1, 2)
    ]  # fmt: skip
    made = table(records)
    assert [row[0] for row in made.rows] == ["CoCoOp", "CoCoOp + diffusion"]
    found = cells(made, "CoCoOp + diffusion")
    assert (found["Base ECE"], found["New AURC"], found["Base at 80 %"]) == (
        "3.00",
        "2.50",
        "91.50",
    )
    assert cells(made, "CoCoOp")["Base ECE"] == "5.00"
    assert "AURC: mean error" in made.caption


def test_old_records_leave_gaps_and_columns_that_nobody_has_are_left_out() -> None:
    old = dict.fromkeys(("selective_50", "selective_80", "selective_90", "aurc"))
    records = [factory.record(seed=1), changed(factory.record(seed=2), "diffusion", **old)]
    found = cells(table(records), "CoCoOp + diffusion")
    assert (found["Base ECE"], found["Base at 50 %"], found["New AURC"]) == ("5.00", "—", "—")
    records = [changed(changed(record, "diffusion", **old), "own", **old) for record in records]
    made = table(records)
    assert made.columns == ("Method", "Base accuracy", "Base ECE", "New accuracy", "New ECE")
    assert "AURC" not in made.caption


def test_means_over_draws_have_a_row_behind_their_generator() -> None:
    accuracy = dict(factory.ACCURACY) | {
        Variant.generated("diffusion", draws=8): (0.9, 0.7),
        Variant.generated("diffusion", nfe=3): (0.8, 0.6),
    }
    made = table([factory.record(seed=seed, accuracy=accuracy) for seed in (1, 2)])
    names = ["CoCoOp", "CoCoOp + diffusion", "CoCoOp + diffusion, samples=8"]
    assert [row[0] for row in made.rows] == names


def calibrated(seed: int, **measured: float) -> Record:
    return factory.record(seed=seed).model_copy(update={"statistics": measured})


def test_calibrations_are_those_of_the_method_and_of_every_seed() -> None:
    records = [
        calibrated(1, ece_before=9.0, ece_after=2.0, unknown_auroc_energy=80.0, other=1.0),
        calibrated(2, ece_before=5.0, unknown_auroc_energy=70.0),
    ]
    (section,) = build_sections([Source(path=Path("x"), record=record) for record in records])
    part = calibration_part(section)
    assert part is not None
    assert [row[0] for row in part.table.rows] == ["CoCoOp + diffusion"]  # not the learner's own
    found = cells(part.table, "CoCoOp + diffusion")
    assert (found["ECE"], found["AUROC energy"]) == ("7.00", "75.00")
    assert (found["ECE calibrated"], found["FPR logit"]) == ("—", "—")


def test_records_without_a_calibration_make_no_table() -> None:
    (section,) = build_sections([Source(path=Path("x"), record=factory.record(seed=1))])
    assert calibration_part(section) is None
