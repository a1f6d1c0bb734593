"""Other test sets of a run: which are refused, which are scored, and with which sentences."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.data.layouts import build_layout
from tests.world import CLASSES, asked, make_pictures

from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import prepare
from diffuprompt.jobs.train import train_job
from diffuprompt.record import Record, read_record

PLAIN = Evaluation(controls="none", oracle=False)


@pytest.fixture
def job(world: Path, tmp_path: Path) -> JobConfig:
    """Zero-shot on the colours, which are scored on paint too."""
    paint = make_pictures(tmp_path / "paint", CLASSES[:3], seed=3)
    places = {"runs_dir": tmp_path / "runs", "test_data": (str(paint),)}
    return asked(world, learner="zero-shot", protocol="cross-dataset", **places)


def names(record: Record) -> list[str]:
    return [score.dataset for score in record.scores]


def test_a_run_that_has_targets_is_scored_on_any_other_data(job: JobConfig, tmp_path: Path) -> None:
    ink = make_pictures(tmp_path / "ink", CLASSES[3:], seed=4)
    run = train_job(job)
    record = read_record(evaluate_run(run, evaluation=PLAIN, data=[str(ink)]))
    assert names(record) == ["ink"]


def test_class_bound_learners_are_told_to_leave_out_other_data(job: JobConfig) -> None:
    bound = replace(job, learner="coop", protocol="few-shot", overrides=("class_specific=true",))
    with pytest.raises(ConfigError, match="other data sets; leave out --test-data"):
        prepare(bound)


def test_domains_that_all_train_are_told_to_name_some(world: Path, tmp_path: Path) -> None:
    for seed, domain in enumerate(("ink", "oil")):
        make_pictures(tmp_path / "styles" / domain, CLASSES[:2], seed=seed)
    pooled = asked(world, data=str(tmp_path / "styles"), layout="domains", protocol="domain")
    with pytest.raises(ConfigError, match="there is none; name it with --train-domains"):
        prepare(pooled)


# Sentences


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet and DTD in miniature, and DTD's test pictures as a user's own folder."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("imagenet", "dtd"):
        build_layout(name, folder, per_class=2)
    dtd = open_dataset("dtd", root=folder)
    for copy in ("contrast-1", "mine/dtd"):
        for item in dtd.splits["test"]:
            place = folder / copy / "test" / dtd.classes[item.label] / Path(item.path).name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(dtd.root / item.path, place)
    return folder


@pytest.mark.parametrize(
    ("source", "target", "values", "alone"),
    [
        ("imagenet", "dtd", {"preset": "ensemble"}, {"preset": "ensemble"}),
        ("imagenet", "dtd", {"overrides": ("templates=my {}.",)}, {"templates": ("my {}.",)}),
        ("imagenet", "dtd", {"templates": ("dataset",)}, {}),
        ("dtd", "contrast-1", {}, {}),  # other pictures of the same classes
        ("imagenet", "mine/dtd", {}, {"templates": ("single",)}),  # it has the name alone
    ],
)
def test_zero_shot_reads_the_same_sentences_alone_and_as_a_target(
    world: Path,
    published: Path,
    tmp_path: Path,
    source: str,
    target: str,
    values: dict[str, Any],
    alone: dict[str, Any],
) -> None:
    same = {"learner": "zero-shot", "data_root": published, "runs_dir": tmp_path, "shots": 1}
    spec = target if target == "dtd" else str(published / target)
    job = asked(world, data=source, protocol="cross-dataset", test_data=(spec,), **same, **values)
    found = read_record(evaluate_run(train_job(job), evaluation=PLAIN)).scores[1]
    assert found.dataset == Path(target).name
    expected = asked(world, data="dtd", protocol="few-shot", **same, **alone)
    (score,) = read_record(evaluate_run(train_job(expected), evaluation=PLAIN)).scores
    assert found.total == score.total
    assert found.metrics["nll"] == pytest.approx(score.metrics["nll"], rel=1e-5)
