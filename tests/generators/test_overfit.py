"""V* is what a literal loop over single images gives, however it was computed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.contract import direct
from tests.contract.cases import build
from tests.contract.towers import NAMES, pictures, rows, tower
from tests.contract.views import image_set
from tests.generators.toy import Counting, bowl_problem, quadratic_problem, softmax_problem

from diffuprompt.engine.files import write_tensors
from diffuprompt.errors import CheckpointError, ConfigError, TrainingError
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.overfit import calibrate, overfit
from diffuprompt.learners.classes import Classes
from diffuprompt.protocols.workbench import learner_logits, own_prompts

PROBLEMS = {"softmax": softmax_problem, "quadratic": quadratic_problem}
# float64 rounding of a few steps; Adam divides by gradients' sizes, which magnifies it a little
EXACT = {"rtol": 0, "atol": 1e-10}


def literal(loss_of, initial, steps, optimiser, lr):
    """One image: update rules as published (SGD; Kingma and Ba 2015, algorithm 1)."""
    p, first, second = initial.clone(), torch.zeros_like(initial), torch.zeros_like(initial)
    for t in range(1, steps + 1):
        leaf = p.clone().requires_grad_()
        (g,) = torch.autograd.grad(loss_of(leaf), leaf)
        if optimiser == "sgd":
            p = p - lr * g
        else:
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            m, v = first / (1 - 0.9**t), second / (1 - 0.999**t)
            p = p - lr * m / (v.sqrt() + 1e-8)
    return p


def nll(logits, label):
    return logits.logsumexp(0) - logits[label]


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_a_literal_loop(problem, optimiser, steps, batch):
    logits, initial, labels = PROBLEMS[problem]()
    kept = initial.clone()
    config = OverfitConfig(steps=steps, optimiser=optimiser, lr=0.3, batch=batch)
    result = overfit(logits, initial, labels, config)
    for i in range(len(labels)):
        index = torch.tensor([i])

        def loss_of(p, index=index, label=int(labels[i])):
            return nll(logits(p[None], index)[0], label)

        want = literal(loss_of, initial[i], steps, optimiser, 0.3)
        torch.testing.assert_close(result.prompts[i], want, **EXACT)
        torch.testing.assert_close(result.ce_before[i], loss_of(initial[i]), **EXACT)
        torch.testing.assert_close(result.ce_after[i], loss_of(want), **EXACT)
    assert result.lr == 0.3
    assert torch.equal(initial, kept), "the learner's own prompts must stay"
    assert not result.prompts.requires_grad


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("case", ["coop-words", "cocoop"])
def test_equals_a_literal_loop_through_clip(case, optimiser):
    """Images one at a time, through CLIP written directly."""
    clip = tower("plain-vit", torch.float64)
    learner, images, names = build(case, clip, moved=True), pictures(clip, 3), NAMES[:4]
    images = rows(images, [0, 1, 2])
    labels = torch.tensor([3, 0, 1])
    object.__setattr__(images, "labels", labels)
    data = image_set(clip, images, Classes(names))
    initial = own_prompts(learner, data).double()
    config = OverfitConfig(steps=3, optimiser=optimiser, lr=0.05, batch=2)
    result = overfit(learner_logits(learner, data), initial, data.labels, config)
    for i in (0, 2):

        def loss_of(p, i=i):
            prompts = learner.spec.unpack(p[None])
            return nll(direct.logits(learner, rows(images, [i]), names, prompts)[0], labels[i])

        want = literal(loss_of, initial[i], 3, optimiser, 0.05)
        torch.testing.assert_close(result.prompts[i], want, rtol=0, atol=1e-8)
        assert float((want - initial[i]).abs().max()) > 1e-3
    assert all(p.grad is None for p in learner.parameters()), "only the prompts take gradients"


def test_an_interrupted_run_continues_behind_its_batches(tmp_path):
    logits, initial, labels = softmax_problem(10)
    config = OverfitConfig(steps=4, lr=0.3, batch=3)
    whole = overfit(logits, initial, labels, config, folder=tmp_path, key="k")
    shards = sorted(tmp_path.glob("0*.safetensors"))
    assert len(shards) == 4
    for shard in (shards[1], shards[3]):
        shard.unlink()
    counting = Counting(logits)
    again = overfit(counting, initial, labels, config, folder=tmp_path, key="k")
    assert counting.asked == [[3, 4, 5]] * 5 + [[9]] * 5
    for name in ("prompts", "ce_before", "ce_after"):
        assert torch.equal(getattr(again, name), getattr(whole, name)), name
    assert sorted(tmp_path.glob("0*.safetensors")) == shards
    alone = overfit(logits, initial, labels, config)
    assert torch.equal(alone.prompts, whole.prompts)


def test_an_interruption_leaves_finished_batches(tmp_path):
    logits, initial, labels = softmax_problem(9)
    config = OverfitConfig(steps=2, lr=0.3, batch=3)

    def broken(flat, index):
        if int(index[0]) == 6:
            raise KeyboardInterrupt
        return logits(flat, index)

    with pytest.raises(KeyboardInterrupt):
        overfit(broken, initial, labels, config, folder=tmp_path, key="k")
    counting = Counting(logits)
    result = overfit(counting, initial, labels, config, folder=tmp_path, key="k")
    assert {i for index in counting.asked for i in index} == {6, 7, 8}
    assert torch.equal(result.prompts, overfit(logits, initial, labels, config).prompts)


def test_another_key_is_refused(tmp_path):
    logits, initial, labels = softmax_problem()
    config = OverfitConfig(steps=1, lr=0.3)
    overfit(logits, initial, labels, config, folder=tmp_path, key="first")
    with pytest.raises(CheckpointError, match=r"key 'first', expected 'second'.*delete the folder"):
        overfit(logits, initial, labels, config, folder=tmp_path, key="second")


def test_a_damaged_or_foreign_batch_is_refused(tmp_path):
    logits, initial, labels = softmax_problem()
    config = OverfitConfig(steps=1, lr=0.3)
    overfit(logits, initial, labels, config, folder=tmp_path, key="k")
    (shard,) = tmp_path.glob("0*.safetensors")
    logits, wider, labels = softmax_problem(width=6)
    with pytest.raises(CheckpointError, match=r"expected prompts \(7, 6\)"):
        overfit(logits, wider, labels, config, folder=tmp_path, key="k")
    whole = shard.read_bytes()
    write_tensors(shard, {"other": torch.zeros(7)}, {"key": "k"})
    with pytest.raises(CheckpointError, match=r"expected prompts .*got \{'other': \(7,\)\}"):
        overfit(logits, initial, labels, config, folder=tmp_path, key="k")
    shard.write_bytes(whole[:-7])
    with pytest.raises(CheckpointError, match=str(shard.name)):
        overfit(logits, initial, labels, config, folder=tmp_path, key="k")


def drop(logits, initial, labels, config, lr):
    result = overfit(logits, initial, labels, config, lr=lr)
    return 1 - float(result.ce_after.median() / result.ce_before.median())


@pytest.mark.parametrize("target", [0.5, 0.7, 0.9])
@pytest.mark.parametrize(
    ("problem", "size"),
    [(softmax_problem, size) for size in (0.03, 0.3, 3.0)]
    + [(bowl_problem, size) for size in (3.0, 10.0, 30.0)],
)
def test_calibration_reaches_the_drop_with_the_smallest_rate(problem, size, target):
    """From flat problems, where rates must grow, to steep ones, where the first jumps out."""
    given = problem(20, size=size)
    config = OverfitConfig(steps=5, target_drop=target)
    lr = calibrate(*given, config)
    assert drop(*given, config, lr) >= target
    assert drop(*given, config, lr / 2) < target
    power = math.log2(lr / float(given[1].std()))
    assert power == pytest.approx(round(power), abs=1e-6), "a rung of the ladder"


@pytest.mark.parametrize("size", [0.1, 100.0])
def test_calibration_without_enough_drop_goes_furthest(size):
    """The bowl's own logit never passes the others': the loss stops at ln 4 from any side."""
    given = bowl_problem(20, size=size)
    config = OverfitConfig(steps=1, target_drop=0.999)
    lr = calibrate(*given, config)
    reached = drop(*given, config, lr)
    assert 0 < reached < 0.999
    for factor in (0.25, 0.5, 2.0, 4.0):
        assert drop(*given, config, factor * lr) <= reached


def test_calibration_survives_rates_that_leave_the_finite_numbers():
    """A wall beside the start: large steps are not finite, small ones serve."""
    logits, initial, labels = softmax_problem(20)

    def walled(flat, index):
        far = (flat - initial[index]).detach().abs().amax(1) > 1.5
        return logits(flat, index) + torch.where(far, torch.nan, 0.0)[:, None]

    config = OverfitConfig(steps=5, target_drop=0.5)
    lr = calibrate(walled, initial, labels, config)
    assert drop(walled, initial, labels, config, lr) > 0.2


def test_calibration_is_kept(tmp_path):
    logits, initial, labels = softmax_problem(9)
    config = OverfitConfig(steps=3, batch=4)
    first = overfit(logits, initial, labels, config, folder=tmp_path, key="k")
    counting = Counting(logits)
    again = overfit(counting, initial, labels, config, folder=tmp_path, key="k")
    assert counting.asked == []
    assert again.lr == first.lr > 0
    assert torch.equal(again.prompts, first.prompts)
    for shard in tmp_path.glob("0*.safetensors"):
        shard.unlink()
    with pytest.raises(CheckpointError, match=r"calibration.safetensors: .*another run"):
        overfit(logits, initial, labels, config, folder=tmp_path, key="other")


def test_a_given_rate_needs_no_calibration(tmp_path):
    logits, initial, labels = softmax_problem(9)
    counting = Counting(logits)
    config = OverfitConfig(steps=2)
    result = overfit(counting, initial, labels, config, lr=0.2, folder=tmp_path, key="k")
    assert result.lr == 0.2
    assert len(counting.asked) == 3
    assert not (tmp_path / "calibration.safetensors").exists()


def test_prompts_that_leave_the_finite_numbers_name_their_image():
    logits, initial, labels = softmax_problem()

    def broken(flat, index):
        return logits(flat, index) + torch.where(index == 5, torch.nan, 0.0)[:, None]

    with pytest.raises(TrainingError, match=r"image 5 .*smaller overfit.lr"):
        overfit(broken, initial, labels, OverfitConfig(steps=2, lr=0.1, batch=4))


def test_statistics_are_medians():
    logits, initial, labels = softmax_problem()
    result = overfit(logits, initial, labels, OverfitConfig(steps=3, lr=0.5))
    change = (result.prompts - initial).norm(dim=1) / initial.norm(dim=1)
    assert result.statistics(initial) == {
        "overfit_ce_before": pytest.approx(sorted(result.ce_before.tolist())[3]),
        "overfit_ce_after": pytest.approx(sorted(result.ce_after.tolist())[3]),
        "overfit_relative_change": pytest.approx(sorted(change.tolist())[3]),
        "overfit_lr": 0.5,
    }
    assert result.statistics(initial)["overfit_ce_after"] < 0.8 * float(result.ce_before.median())


@pytest.mark.parametrize(
    "wrong", [{"steps": -1}, {"lr": -0.1}, {"target_drop": 0.0}, {"target_drop": 1.0}, {"batch": 0}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match="overfit: expected"):
        OverfitConfig(**wrong)


def test_progress_counts_images(tmp_path: Path):
    logits, initial, labels = softmax_problem()
    seen = []

    class Task:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self, count, **values):
            seen.append((count, sorted(values)))

    class Progress:
        def task(self, label, total):
            assert total == 7
            return Task()

    overfit(logits, initial, labels, OverfitConfig(steps=1, lr=1, batch=3), progress=Progress())
    assert seen == [(3, ["ce"]), (3, ["ce"]), (1, ["ce"])]
