"""Other test sets of a run: which are refused, which are scored, and with which sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.world import CLASSES, asked, make_pictures

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
