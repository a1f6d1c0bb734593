"""V* is what a literal loop over single images gives, however it was computed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tests.contract import direct
from tests.contract.cases import build
from tests.contract.towers import NAMES, pictures, rows, tower
from tests.contract.views import image_set
from tests.generators.toy import problem_of, quadratic_problem, softmax_problem
from torch import Tensor

from diffuprompt.errors import ConfigError, TrainingError
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.descent import Problem
from diffuprompt.generators.overfit_report import overfit_statistics
from diffuprompt.generators.overfitting import overfit
from diffuprompt.learners.classes import Classes
from diffuprompt.stages.flat_prompts import learner_logits, own_prompts

PROBLEMS = {"softmax": softmax_problem, "quadratic": quadratic_problem}
# float64 rounding of a few steps; Adam divides by gradients' sizes, which magnifies it a little
EXACT = {"rtol": 0, "atol": 1e-10}
LISTS = torch.tensor([[0, 2, 3], [0, 1, 2], [1, 2, 3], [0, 1, 3]])  # of four classes


def literal(loss_of: Any, initial: Tensor, steps: int, optimiser: str, lr: float) -> list[Tensor]:
    """One image: update rules as published (SGD; Kingma and Ba 2015, algorithm 1)."""
    p, first, second = initial.clone(), torch.zeros_like(initial), torch.zeros_like(initial)
    path = [p]
    for t in range(1, steps + 1):
        leaf = p.clone().requires_grad_()
        (g,) = torch.autograd.grad(loss_of(leaf), leaf)
        if optimiser == "sgd":
            p = p - lr * g
        else:
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            m, v = first / (1 - 0.9**t), second / (1 - 0.999**t)
            p = p - lr * m / (v.sqrt() + 1e-8)
        path.append(p)
    return path


def nll(logits: Tensor, label: int | Tensor) -> Tensor:
    return logits.logsumexp(0) - logits[label]


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_equals_a_literal_loop(name, optimiser, steps, batch):
    logits, initial, labels = given = PROBLEMS[name]()
    kept = initial.clone()
    config = OverfitConfig(steps=steps, optimiser=optimiser, lr=0.3, batch=batch)
    result = overfit(problem_of(given), config, keep=(0, 1) if steps else ())
    for i in range(len(labels)):
        index = torch.tensor([i])

        def loss_of(p, index=index, label=int(labels[i])):
            return nll(logits(p[None], index)[0], label)

        path = literal(loss_of, initial[i], steps, optimiser, 0.3)
        torch.testing.assert_close(result.prompts[i], path[-1], **EXACT)
        torch.testing.assert_close(result.ce[i], torch.stack([loss_of(p) for p in path]), **EXACT)
        for step, prompts in result.iterates.items():
            torch.testing.assert_close(prompts[i], path[step], **EXACT)
    assert result.lr == 0.3
    assert sorted(result.iterates) == ([0, 1] if steps else [])
    assert torch.equal(initial, kept), "the learner's own prompts must stay"
    assert not result.prompts.requires_grad


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_loss_is_taken_over_the_list(batch):
    """Written out for one image: CE over its list."""
    logits, initial, labels = quadratic_problem(9)
    labels = labels.roll(4)
    config = OverfitConfig(steps=4, lr=0.2, batch=batch)
    result = overfit(problem_of((logits, initial, labels), LISTS), config)
    for i in range(len(labels)):
        allowed = LISTS[labels[i]]

        def loss_of(p, i=i, allowed=allowed):
            log_p = logits(p[None], torch.tensor([i]))[0, allowed].log_softmax(0)
            return -log_p[allowed == labels[i]].sum()

        path = literal(loss_of, initial[i], 4, "sgd", 0.2)
        torch.testing.assert_close(result.prompts[i], path[-1], **EXACT)
        torch.testing.assert_close(result.ce[i], torch.stack([loss_of(p) for p in path]), **EXACT)


def test_images_of_one_batch_share_one_list():
    logits, initial, labels = softmax_problem(30)
    labels = labels.flip(0)
    seen = []

    def listed(flat, index, classes):
        seen.append((index.tolist(), classes.tolist()))
        return logits(flat, index)[:, classes]

    problem = Problem(logits=listed, initial=initial, labels=labels, lists=LISTS)
    overfit(problem, OverfitConfig(steps=0, lr=1.0, batch=5))
    for index, classes in seen:
        assert {int(labels[i]) for i in index} <= set(classes)
        assert all(LISTS[labels[i]].tolist() == classes for i in index)
    assert sorted(i for index, _ in seen for i in index) == list(range(30))
    assert max(len(index) for index, _ in seen) == 5


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("case", ["coop-words", "cocoop", "vpt"])
@pytest.mark.parametrize("listed", [False, True])
def test_equals_a_literal_loop_through_clip(case, optimiser, listed):
    """Images one at a time, through CLIP written directly."""
    clip = tower("plain-vit", torch.float64)
    learner, images, names = build(case, clip, moved=True), pictures(clip, 3), NAMES[:4]
    images = rows(images, [0, 1, 2])
    labels = torch.tensor([3, 0, 1])
    object.__setattr__(images, "labels", labels)
    data = image_set(clip, images, Classes(names))
    learner.requires_grad_(False)
    lists = LISTS if listed else None
    problem = Problem(
        logits=learner_logits(learner, data),
        initial=own_prompts(learner, data).double(),
        labels=data.labels,
        lists=lists,
    )
    config = OverfitConfig(steps=3, optimiser=optimiser, lr=0.05, batch=2)
    result = overfit(problem, config)
    for i in (0, 2):
        allowed = torch.arange(4) if lists is None else lists[labels[i]]

        def loss_of(p, i=i, allowed=allowed):
            prompts = learner.spec.unpack(p[None])
            scores = direct.logits(learner, rows(images, [i]), names, prompts)[0]
            return nll(scores[allowed], torch.searchsorted(allowed, labels[i]))

        want = literal(loss_of, problem.initial[i], 3, optimiser, 0.05)[-1]
        torch.testing.assert_close(result.prompts[i], want, rtol=0, atol=1e-8)
        assert float((want - problem.initial[i]).abs().max()) > 1e-4
    assert all(p.grad is None for p in learner.parameters()), "only the prompts take gradients"


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("memory_mib", [1, 2048])
def test_batch_and_memory_budget_change_nothing(batch, memory_mib):
    """One MiB is less than one image's activations: the text path then recomputes in chunks."""
    clip, images = tower("plain-vit", torch.float64), pictures(tower("plain-vit", torch.float64), 4)
    learner = build("cocoop", clip, moved=True).requires_grad_(False)
    object.__setattr__(images, "labels", torch.tensor([1, 0, 1, 2]))
    data = image_set(clip, images, Classes(NAMES[:4]))
    initial = own_prompts(learner, data).double()

    def run(lists, batch, memory_mib):
        learner.plan = dataclasses.replace(learner.plan, memory_mib=memory_mib)
        problem = Problem(
            logits=learner_logits(learner, data), initial=initial, labels=data.labels, lists=lists
        )
        return overfit(problem, OverfitConfig(steps=2, lr=0.05, batch=batch))

    for lists in (None, LISTS):
        want, found = run(lists, 3, 512), run(lists, batch, memory_mib)
        # float64 sums in another order, over two steps
        torch.testing.assert_close(found.prompts, want.prompts, rtol=0, atol=1e-11)
        torch.testing.assert_close(found.ce, want.ce, rtol=0, atol=1e-11)


def test_prompts_that_leave_the_finite_numbers_name_their_image():
    logits, initial, labels = softmax_problem()

    def broken(flat, index):
        return logits(flat, index) + torch.where(index == 5, torch.nan, 0.0)[:, None]

    with pytest.raises(TrainingError, match=r"image 5 .*smaller overfit.lr"):
        overfit(problem_of((broken, initial, labels)), OverfitConfig(steps=2, lr=0.1, batch=4))


def test_a_learner_that_left_them_before_is_told_from_it():
    logits, initial, labels = softmax_problem()
    initial[5] = torch.nan
    with pytest.raises(TrainingError, match=r"own prompts for image 5 .*fit.stop_gradient=true"):
        overfit(problem_of((logits, initial, labels)), OverfitConfig(steps=2, lr=0.1, batch=4))


def test_statistics_are_medians():
    problem = problem_of(softmax_problem())
    result = overfit(problem, OverfitConfig(steps=2, lr=0.5))
    change = (result.prompts - problem.initial).norm(dim=1) / problem.initial.norm(dim=1)
    middle = [sorted(column)[3] for column in result.ce.T.tolist()]
    assert overfit_statistics(problem, result) == {
        "overfit_ce_before": pytest.approx(middle[0]),
        "overfit_ce_after": pytest.approx(middle[2]),
        "overfit_ce_step_0": pytest.approx(middle[0]),
        "overfit_ce_step_1": pytest.approx(middle[1]),
        "overfit_ce_step_2": pytest.approx(middle[2]),
        "overfit_relative_change": pytest.approx(sorted(change.tolist())[3]),
        "overfit_lr": 0.5,
    }
    assert middle[2] < 0.8 * middle[0]


def test_before_and_after_are_over_all_classes_also_with_lists():
    """Few classes are easier: only the whole list compares runs with and without lists."""
    given = quadratic_problem(9)
    listed = problem_of(given, LISTS)
    result = overfit(listed, OverfitConfig(steps=2, lr=0.2))
    found = overfit_statistics(listed, result)
    logits, initial, labels = given
    everything = torch.arange(9)
    for name, prompts in (("before", initial), ("after", result.prompts)):
        ce = torch.nn.functional.cross_entropy(
            logits(prompts, everything), labels, reduction="none"
        )
        assert found[f"overfit_ce_{name}"] == pytest.approx(float(ce.median()))
    assert found["overfit_ce_step_0"] == pytest.approx(float(result.ce[:, 0].median()))
    assert found["overfit_ce_step_0"] < found["overfit_ce_before"]
    assert found["overfit_classes"] == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1},
        {"lr": -0.1},
        {"target_drop": 0.0},
        {"target_drop": 1.0},
        {"batch": -1},
        {"negatives": -1},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=rf"overfit.*{next(iter(wrong))}"):
        OverfitConfig(**wrong)


def test_an_automatic_batch_is_for_those_who_know_the_budget():
    with pytest.raises(ConfigError, match=r"overfit.batch: 0 is chosen by the protocols"):
        overfit(problem_of(softmax_problem()), OverfitConfig(batch=0, lr=1.0))
