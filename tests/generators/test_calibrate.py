"""The calibrated rate is the smallest rung of the ladder with a large enough drop."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from tests.generators.toy import Counting, bowl_problem, problem_of, softmax_problem

from diffuprompt.errors import CheckpointError
from diffuprompt.generators.calibrate import calibrate
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.overfitting import overfit


def drop(problem, config, lr):
    result = overfit(problem, config, lr=lr)
    return 1 - float(result.ce[:, -1].median() / result.ce[:, 0].median())


@pytest.mark.parametrize("target", [0.5, 0.7, 0.9])
@pytest.mark.parametrize(
    ("make", "size"),
    [(softmax_problem, size) for size in (0.03, 0.3, 3.0)]
    + [(bowl_problem, size) for size in (3.0, 10.0, 30.0)],
)
def test_calibration_reaches_the_drop_with_the_smallest_rate(make, size, target):
    """From flat problems, where rates must grow, to steep ones, where the first jumps out."""
    problem = problem_of(make(20, size=size))
    config = OverfitConfig(steps=5, target_drop=target)
    lr = calibrate(problem, config)
    assert drop(problem, config, lr) >= target
    assert drop(problem, config, lr / 2) < target
    power = math.log2(lr / float(problem.initial.std()))
    assert power == pytest.approx(round(power), abs=1e-6), "a rung of the ladder"
    small = dataclasses.replace(config, batch=3)
    assert calibrate(problem, small) == lr, "the budget changes nothing"


def test_calibration_is_over_the_class_lists():
    given = softmax_problem(20, size=0.3)
    lists = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 3]])
    config = OverfitConfig(steps=5)
    lr = calibrate(problem_of(given, lists), config)
    assert drop(problem_of(given, lists), config, lr) >= config.target_drop
    assert drop(problem_of(given, lists), config, lr / 2) < config.target_drop
    assert lr != calibrate(problem_of(given), config)


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
def test_the_rate_is_the_same_for_any_number_of_steps(steps):
    """A sweep over iterations changes these alone: fewer of them fall less far."""
    problem = problem_of(softmax_problem(20, size=0.3))
    lr = calibrate(problem, OverfitConfig())
    config = OverfitConfig(steps=steps)
    assert calibrate(problem, config) == lr
    reached = drop(problem, OverfitConfig(), lr)
    assert drop(problem, config, lr) < reached if steps < 5 else drop(problem, config, lr) > reached


@pytest.mark.parametrize("size", [0.1, 100.0])
def test_calibration_without_enough_drop_goes_furthest(size):
    """The bowl's own logit never passes the others': the loss stops at ln 4 from any side."""
    problem = problem_of(bowl_problem(20, size=size))
    config = OverfitConfig(target_drop=0.999)
    lr = calibrate(problem, config)
    reached = drop(problem, config, lr)
    assert 0 < reached < 0.999
    for factor in (0.25, 0.5, 2.0, 4.0):
        assert drop(problem, config, factor * lr) <= reached


def test_calibration_survives_rates_that_leave_the_finite_numbers():
    """A wall beside the start: large steps are not finite, small ones serve."""
    logits, initial, labels = softmax_problem(20)

    def walled(flat, index):
        far = (flat - initial[index]).detach().abs().amax(1) > 1.5
        return logits(flat, index) + torch.where(far, torch.nan, 0.0)[:, None]

    problem = problem_of((walled, initial, labels))
    config = OverfitConfig(steps=5, target_drop=0.5)
    assert drop(problem, config, calibrate(problem, config)) > 0.2


def test_calibration_is_kept(tmp_path):
    logits, initial, labels = softmax_problem(9)
    config = OverfitConfig(steps=3, batch=4)
    problem = problem_of((logits, initial, labels))
    first = overfit(problem, config, folder=tmp_path, key="k")
    counting = Counting(problem.logits)
    watched = dataclasses.replace(problem, logits=counting)
    again = overfit(watched, config, folder=tmp_path, key="k")
    assert counting.asked == []
    assert again.lr == first.lr > 0
    assert torch.equal(again.prompts, first.prompts)
    for shard in tmp_path.glob("0*.safetensors"):
        shard.unlink()
    with pytest.raises(CheckpointError, match=r"calibration.safetensors: .*another run"):
        overfit(problem, config, folder=tmp_path, key="other")


def test_a_given_rate_needs_no_calibration(tmp_path):
    problem = problem_of(softmax_problem(9))
    counting = Counting(problem.logits)
    watched = dataclasses.replace(problem, logits=counting)
    result = overfit(watched, OverfitConfig(steps=2), lr=0.2, folder=tmp_path, key="k")
    assert result.lr == 0.2
    assert len(counting.asked) == 3
    assert not (tmp_path / "calibration.safetensors").exists()
