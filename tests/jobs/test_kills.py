"""Kills at random moments of training and of evaluation change no bit.

Sixteen and twenty where state is saved after every step or batch, and some more at the interval of
the command line, where a kill costs all of the stage at hand.
"""

from __future__ import annotations

import inspect
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.killing import ALWAYS, AS_USUAL, evaluate, kill_at_random, start, train
from tests.world import small_job

from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job
from diffuprompt.record import read_record
from diffuprompt.stages import score

pytestmark = pytest.mark.usefixtures("small_networks_here")
AMED = ("views=2", "diffusion.sampler=amed", "overfit.negatives=1", "overfit.batch=2")
JOINT = ("views=2", "fit.mode=joint", "fit.ce_weight=1", "overfit.batch=2")
ALL = Evaluation(nfe=(1,), samples=2)


def job(world: Path, out: Path, *overrides: str) -> JobConfig:
    asked = small_job(world, out.parent, "cocoop", *overrides)
    return JobConfig(**{**vars(asked), "out": out})


def artifact(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "artifact").iterdir()}


def test_the_usual_interval_is_that_of_the_command_line() -> None:
    for work in (train_job, evaluate_run):
        assert inspect.signature(work).parameters["save_every_s"].default == AS_USUAL


@pytest.mark.parametrize(
    ("overrides", "kills", "save_every_s"),
    [(AMED, 10, ALWAYS), (JOINT, 6, ALWAYS), (AMED, 3, AS_USUAL)],
    ids=["amed", "joint", "as usual"],
)
def test_training_killed_at_random_moments_ends_in_the_same_bits(
    overrides: tuple[str, ...], kills: int, save_every_s: float, world: Path, tmp_path: Path
) -> None:
    whole = train_job(job(world, tmp_path / "alone" / "whole", *overrides))
    asked = job(world, tmp_path / "cut" / "run", *overrides)
    rng = random.Random(len(overrides))
    marker = tmp_path / "cut" / "run" / "artifact" / "artifact.json"

    def begin(pause_s: float) -> Any:
        return start(train, asked, tmp_path / "cut-cache", save_every_s, pause_s)

    kill_at_random(begin, kills, rng, marker)
    assert artifact(tmp_path / "cut" / "run") == artifact(whole)
    begun = list((tmp_path / "cut" / ".stages").glob("*/*/work"))
    assert not begun, "finished stages keep nothing to resume from"


@pytest.mark.parametrize(("kills", "save_every_s"), [(20, ALWAYS), (3, AS_USUAL)])
def test_evaluation_killed_at_random_moments_ends_in_the_same_bits(
    kills: int, save_every_s: float, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_job(job(world, tmp_path / "runs" / "run", *AMED))
    other = tmp_path / "alone" / "run"
    shutil.copytree(run, other)
    monkeypatch.setattr(score, "BATCH", 3)
    whole = read_record(evaluate_run(other, evaluation=ALL))
    rng = random.Random(7)

    def begin(pause_s: float) -> Any:
        return start(evaluate, run, ALL, tmp_path / "cut-cache", save_every_s, pause_s)

    kill_at_random(begin, kills, rng, run / "record.json")
    found = read_record(run / "record.json")
    assert len(found.scores) == len(whole.scores) == 2 * 10
    timed = {"scores", "seconds", "statistics"}
    assert found.model_dump(exclude=timed) == whole.model_dump(exclude=timed)
    for a, b in zip(found.scores, whole.scores, strict=True):
        assert a.model_dump(exclude={"timings"}) == b.model_dump(exclude={"timings"})
