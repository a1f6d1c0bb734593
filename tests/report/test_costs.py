"""Costs of records of several devices: seconds of these have no mean."""

from __future__ import annotations

from pathlib import Path

from tests.report.factory import record, study

from diffuprompt.record import Record
from diffuprompt.report.aggregate import build_sections
from diffuprompt.report.cost_table import cost_table
from diffuprompt.report.costs import mean_costs, timed_on, usual_device
from diffuprompt.report.load import Source
from diffuprompt.report.names import OWN
from diffuprompt.report.time_figure import time_part
from diffuprompt.report.views import headline_table

GPU = "NVIDIA H200"


def on(made: Record, device: str, seconds: float | None = None) -> Record:
    """Return a record of another device, trained in ``seconds`` where these are given."""
    stages = made.seconds if seconds is None else {**made.seconds, "learner": seconds}
    environment = {**made.environment, "device": device}
    return made.model_copy(update={"environment": environment, "seconds": stages})


def plain(seed: int, learner: str = "cocoop") -> Record:
    return record(learner=learner, generator="none", seed=seed)


def section(records):
    return build_sections(
        [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]
    )[0]


def test_costs_are_of_the_device_that_most_seeds_ran_on() -> None:
    records = [on(plain(1), "cpu", 100.0), on(plain(2), GPU, 4.0), on(plain(3), GPU, 6.0)]
    costs = mean_costs(records, OWN)
    assert costs.train_s == 5.0
    assert costs.timed_on == GPU
    row = cost_table(records).rows[0]
    assert row[3].value == 5.0
    assert row[-1] == GPU


def test_of_two_devices_that_are_level_the_processor_counts() -> None:
    costs = mean_costs([on(plain(1), GPU, 4.0), on(plain(2), "cpu", 100.0)], OWN)
    assert (costs.train_s, costs.timed_on) == (100.0, "CPU")
    assert usual_device([]) == ""


def test_a_caption_names_who_was_timed_on() -> None:
    records = [on(r, GPU if r.job.learner == "coop" else "cpu") for r in study()]
    caption = headline_table(section(records)).caption
    assert caption.endswith(f" Timed on CPU; on {GPU}: CoOp.")
    assert headline_table(section([on(r, GPU) for r in study()])).caption.endswith(
        f" Timed on {GPU}."
    )
    assert "Timed" not in headline_table(section([on(r, "cpu") for r in study()])).caption
    assert timed_on([]) == ""


def test_the_figure_over_time_leaves_out_who_was_timed_on() -> None:
    records = [on(r, GPU if r.job.learner == "coop" else "cpu") for r in study()]
    part = time_part(section(records))
    assert part is not None
    assert [r[0] for r in part.table.rows] == ["Zero-shot CLIP", "CoCoOp", "CoCoOp + diffusion"]
    told = "Left out, since timed on another device than the rest (CPU): CoOp."
    assert part.table.caption.endswith(told)
