"""H against seconds of training: which methods, in which order, and what is drawn."""

from __future__ import annotations

from pathlib import Path

from tests.report.factory import record, study

from diffuprompt.report.aggregate import build_sections
from diffuprompt.report.load import Source
from diffuprompt.report.time_figure import time_part


def section(records):
    return build_sections(
        [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]
    )[0]


def test_methods_stand_by_time_and_those_that_no_faster_one_beats_are_marked() -> None:
    part = time_part(section(study()))
    assert part is not None
    names = [row[0] for row in part.table.rows]
    assert names == ["Zero-shot CLIP", "CoCoOp", "CoOp", "CoCoOp + diffusion"]  # no control
    marked = [row[0] for row in part.table.rows if row[2].best]
    assert marked == ["Zero-shot CLIP", "CoCoOp", "CoCoOp + diffusion"]
    assert part.table.rows[1][1].value == 14.5  # 12.5 + seed, the mean of three
    assert part.table.rows[3][1].value == 14.5 + 40.0 + 30.25
    drawn = part.figure.draw()
    assert drawn.count("CoCoOp + diffusion") >= 1
    assert part.figure.name == "time-scenes-scenes-clip-base-to-new-16-shots"


def test_two_methods_or_no_new_classes_make_no_figure() -> None:
    few = [record(learner=name, generator="none") for name in ("coop", "cocoop")]
    assert time_part(section(few)) is None
