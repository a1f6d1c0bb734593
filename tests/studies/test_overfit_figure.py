from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.report import factory

from diffuprompt.record import Record
from diffuprompt.report.html import render_page
from diffuprompt.report.load import load_records
from diffuprompt.report.views import build_report
from diffuprompt.studies.plug_in.overfit_figure import _means, overfit_figures
from diffuprompt.studies.reported import STUDIES


def with_statistics(record: Record, ce: list[float], energy: dict[int, float]) -> Record:
    more = {f"overfit_ce_step_{k}": value for k, value in enumerate(ce)}
    more |= {f"overfit_energy_rank_{rank}": value for rank, value in energy.items()}
    return record.model_copy(update={"statistics": {**record.statistics, **more}})


def overfitted() -> list[Record]:
    return [
        with_statistics(factory.record(seed=1), [2.0, 1.0], {1: 0.3, 16: 0.9}),
        with_statistics(factory.record(seed=2), [1.0, 0.6], {1: 0.5, 16: 0.8}),
        with_statistics(factory.record(learner="vpt", seed=1), [3.0], {1: 0.2, 2: 0.4}),
        factory.record(learner="coop", generator="none"),
    ]


def test_lines_are_means_over_jobs_in_order_of_numbers() -> None:
    pair = overfitted()[:2]
    steps, ce = _means(pair, "overfit_ce_step_")
    assert (steps, ce) == ([0, 1], [1.5, 0.8])
    ranks, energy = _means(pair, "overfit_energy_rank_")
    assert ranks == [1, 16]
    assert energy == [0.4, (0.9 + 0.8) / 2]


def test_one_figure_per_data_set_and_nothing_without_numbers(tmp_path) -> None:
    records = overfitted()
    figures = overfit_figures(records)
    assert list(figures) == ["scenes · scenes-clip"]
    svg = figures["scenes · scenes-clip"]
    ET.fromstring(svg)
    assert "CoCoOp" in svg
    assert "VPT" in svg
    assert "CoOp<" not in svg.replace("CoCoOp<", "")
    assert overfit_figures(records) == figures, "the same bytes for the same numbers"
    assert overfit_figures(factory.study()) == {}
    for folder, found, shown in (("a", records[:2], True), ("b", factory.study(), False)):
        records_found = load_records([factory.write(tmp_path / folder, found)])
        page = render_page(build_report(records_found, studies=STUDIES))
        assert ("What overfitting changed" in page) == shown
