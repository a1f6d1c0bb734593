"""Kills at random moments of training and of evaluation of a grounding job change no bit."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any

import pytest
from tests.grounding.killing import FEW, evaluate, train
from tests.grounding.tiny_jobs import tiny_job
from tests.jobs.killing import ALWAYS, AS_USUAL, kill_at_random, start

from diffuprompt.jobs.grounding.run import evaluate_grounding, train_grounding
from diffuprompt.record_grounding import read_grounding_record
from diffuprompt.stages.grounding import maps, score

KILLS = 3


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that nothing interrupted."""
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(maps, "BATCH", FEW)
    monkeypatch.setattr(score, "BATCH", FEW)
    run = train_grounding(tiny_job(tmp_path / "alone", "diff-prompt"))
    evaluate_grounding(run)
    return run


def artifact(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "artifact").iterdir()}


def test_killed_at_random_moments_a_job_ends_in_the_same_bits(whole: Path, tmp_path: Path) -> None:
    asked = tiny_job(tmp_path / "cut", "diff-prompt")
    run = tmp_path / "cut" / whole.name
    rng = random.Random(1)

    def training(pause_s: float) -> Any:
        return start(train, asked, tmp_path / "cut-cache", ALWAYS, pause_s)

    def evaluating(pause_s: float) -> Any:
        return start(evaluate, run, tmp_path / "cut-cache", ALWAYS, pause_s)

    kill_at_random(training, KILLS, rng, run / "artifact" / "grounding.json")
    assert artifact(run) == artifact(whole)
    kill_at_random(evaluating, KILLS, rng, run / "record.json")
    found, expected = (read_grounding_record(one / "record.json") for one in (run, whole))
    timed = {"tests", "seconds", "statistics"}
    assert found.model_dump(exclude=timed) == expected.model_dump(exclude=timed)
    for a, b in zip(found.tests, expected.tests, strict=True):
        assert a.model_dump(exclude={"timings"}) == b.model_dump(exclude={"timings"})
    begun = list((tmp_path / "cut" / ".stages").glob("*/*/work"))
    assert not begun, "finished stages keep nothing to resume from"


def test_the_usual_interval_is_that_of_the_command_line() -> None:
    for work in (train_grounding, evaluate_grounding):
        assert inspect.signature(work).parameters["save_every_s"].default == AS_USUAL
