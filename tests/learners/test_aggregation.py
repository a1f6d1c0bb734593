"""Gaussian prompt aggregation: the weights, the sum, and the same result over an interruption."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.contract.towers import NAMES, tiny
from tests.contract.views import tiny_set

from diffuprompt.engine.loop import train
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.learners.aggregation import gaussian_weights
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.presets import TrainConfig
from diffuprompt.learners.registry import build_learner
from diffuprompt.stages.learner_task import LearnerTask

EPOCHS = 4


def test_weights_are_the_published_ones() -> None:
    weights = gaussian_weights(15, 1, 20)
    assert [round(w, 3) for w in weights[12:17]] == [0.054, 0.242, 0.399, 0.242, 0.054]
    assert sum(weights) == pytest.approx(1)
    near_uniform = gaussian_weights(6, 10, 20)
    assert max(near_uniform) / min(near_uniform) < 3
    assert sum(gaussian_weights(1000, 1, 3)) == pytest.approx(1)  # far from every epoch


@pytest.mark.parametrize(
    ("mean", "std", "epochs"), [(15, 1, 20), (6, 10, 20), (30, 30, 50), (45, 5, 50)]
)
def test_weights_of_every_recipe_are_the_formula(mean: float, std: float, epochs: int) -> None:
    """Every published setting, against the density of the normal distribution written out."""

    def density(x: float) -> float:
        return math.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))

    total = sum(density(e) for e in range(1, epochs + 1))
    expected = [density(e) / total for e in range(1, epochs + 1)]
    assert gaussian_weights(mean, std, epochs) == pytest.approx(expected, rel=1e-9)


def make_task(**options: float) -> LearnerTask:
    clip = tiny("plain-vit", torch.float32)
    values = {"depth": 1, "num_ctx": 2, "vision_ctx": 0, "gpa_mean": 3.0, "gpa_std": 1.0}
    learner = build_learner("ivlp", clip, {**values, **options}, generator=torch_stream(0))
    config = TrainConfig(epochs=EPOCHS, batch=4, lr=0.5)
    return LearnerTask(learner, tiny_set(clip, 8, Classes(NAMES)), config, 1)


def run(task: LearnerTask, folder: Path | None = None) -> torch.Tensor:
    steps = task.steps_per_epoch
    train(
        task, task.optimiser(), epochs=EPOCHS, steps_per_epoch=steps, folder=folder, save_every_s=0
    )
    return next(iter(task.parameters())).detach().clone()


class Watched(LearnerTask):
    """Keeps the learnables of every epoch's end, and stops where it is told to."""

    stop_at: tuple[int, int] | None = None

    def after_epoch(self, epoch: int) -> None:
        p = next(iter(self.parameters()))
        self.__dict__.setdefault("seen", []).append(p.detach().clone())
        super().after_epoch(epoch)

    def loss(self, epoch: int, step: int) -> dict[str, torch.Tensor]:
        if (epoch, step) == self.stop_at:
            raise InterruptedError
        return super().loss(epoch, step)


def test_the_result_is_the_weighted_sum_of_epoch_ends() -> None:
    task = make_task()
    task.__class__ = Watched
    result = run(task)
    seen = task.__dict__["seen"]
    assert len(seen) == EPOCHS
    expected = sum(w * p for w, p in zip(gaussian_weights(3, 1, EPOCHS), seen, strict=True))
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-7)
    plain = run(make_task(gpa_std=0.0))
    assert torch.equal(plain, seen[-1])  # the same training, without the average
    assert not torch.allclose(result, plain)


@pytest.mark.parametrize("stop_at", [(1, 0), (2, 1), (3, 1)])
def test_an_interruption_changes_nothing(stop_at: tuple[int, int], tmp_path: Path) -> None:
    whole = run(make_task())
    task = make_task()
    task.__class__ = Watched
    task.stop_at = stop_at
    with pytest.raises(InterruptedError):
        run(task, tmp_path)
    assert torch.equal(run(make_task(), tmp_path), whole)
    assert torch.equal(run(make_task(), tmp_path), whole)  # finished: only loaded
