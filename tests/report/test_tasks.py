"""Other tasks than classification: metrics and parts of their own, no hits, never mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuprompt.record import Record, Score, Variant
from diffuprompt.report.html import render_page
from diffuprompt.report.load import Source
from diffuprompt.report.markdown import render_markdown
from diffuprompt.report.tables import plain
from diffuprompt.report.views import Report, build_report
from diffuprompt.studies.reported import STUDIES

from . import factory


def grounding(seed: int, own: float, generated: float) -> Record:
    """Referring expressions found on testA and testB, with own and with generated prompts."""
    record = factory.record(learner="adapter", seed=seed, protocol="refer", shots=0)
    scores = tuple(
        Score(
            variant=variant,
            dataset="scenes",
            subset=part,
            total=40,
            metrics={"R@1": value, "R@5": value + 20},
        )
        for variant, value in (
            (Variant.own(), own),
            (Variant.generated("diffusion"), generated),
        )
        for part in ("testA", "testB")
    )
    return record.model_copy(update={"task": "grounding", "scores": scores})


def records() -> list[Record]:
    return [grounding(1, 50.0, 60.0), grounding(2, 52.0, 64.0)]


def report(found: list[Record]) -> Report:
    sources = [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(found)]
    return build_report(sources, studies=STUDIES)


def test_metrics_without_hits_are_means_and_spreads_over_seeds_alone() -> None:
    (view,) = report(records()).sections
    assert view.section.setting.title == "scenes · scenes-clip · grounding · refer"
    measures = ("testA R@1", "testA R@5", "testB R@1", "testB R@5")
    assert view.headline.columns[:5] == ("Method", *measures)
    assert [[plain(cell) for cell in row[:3]] for row in view.headline.rows] == [
        ["adapter", "51.00 ± 1.00", "71.00 ± 1.00"],
        ["adapter + diffusion", "62.00 ± 2.00", "82.00 ± 2.00"],
    ]
    assert view.headline.caption.startswith("Mean ± population standard deviation (ddof 0); seeds")
    assert (view.differences, view.confidence, view.parts, view.verdicts) == (None, None, (), ())


def test_tasks_are_never_rows_of_one_table() -> None:
    other = factory.record(learner="adapter", generator="none", protocol="refer", shots=0)
    made = report([*records(), other])
    found = made.sections
    assert [view.section.setting.task for view in found] == ["classification", "grounding"]
    assert [len(view.section.rows) for view in found] == [1, 2]
    assert made.cost.columns[0] == "Data · backbone · task · shots"
    assert [row[0] for row in made.cost.rows] == [
        "scenes · scenes-clip · classification · 0",
        "scenes · scenes-clip · grounding · 0",
    ]


def test_documents_show_them() -> None:
    made = report(records())
    text = render_markdown(made)
    assert "| adapter + diffusion | 62.00 ± 2.00 |" in text
    assert "### Confidence" not in text
    page = render_page(made)
    assert "testB R@5" in page
    assert "R@1" in page.split("Every job")[1]


def test_a_part_that_one_seed_lacks_is_not_shown() -> None:
    whole, part = records()
    kept = tuple(s for s in part.scores if s.subset == "testA")
    (view,) = report([whole, part.model_copy(update={"scores": kept})]).sections
    assert view.section.metrics == ("testA R@1", "testA R@5")


def test_classification_without_hits_has_accuracies_and_no_intervals() -> None:
    record = factory.record()
    bare = tuple(score.model_copy(update={"hits": None}) for score in record.scores)
    (view,) = report([record.model_copy(update={"scores": bare})]).sections
    own = view.section.rows[0]
    score = record.score(Variant.own(), "base")
    assert score is not None
    assert own.mean("base") == pytest.approx(score.accuracy)
    assert view.section.metrics == ("base", "new", "h")
    assert view.differences is None
