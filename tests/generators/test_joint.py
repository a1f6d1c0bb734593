"""Joint training: each step overfits from the present V0 and moves learner and generator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.generators.toy import FEATURES, SPEC, make, problem_of, randn, softmax_problem
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.fitting import quality
from diffuprompt.generators.joint import Base, JointTask, fit_joint
from diffuprompt.generators.types import PromptPairs
from diffuprompt.jobs.job import JobConfig

pytestmark = pytest.mark.usefixtures("_small")

COUNT, LR = 8, 0.3
LOGITS, _, LABELS = softmax_problem(COUNT, SPEC.size)
LOGITS32 = lambda flat, index: LOGITS(flat.double(), index).float()  # noqa: E731
CONFIG = OverfitConfig(steps=3, lr=LR, batch=3)
FEATURES_NE = randn(COUNT, FEATURES, name="features", dtype=torch.float32)


class Shift(nn.Module):
    """A learner of one context and a shift by the image's feature, as CoCoOp's."""

    def __init__(self) -> None:
        super().__init__()
        self.ctx = nn.Parameter(randn(1, SPEC.size, name="ctx", dtype=torch.float32))
        self.shift = nn.Parameter(0.1 * randn(FEATURES, SPEC.size, name="s", dtype=torch.float32))

    def forward(self, index: Tensor) -> Tensor:
        return self.ctx + FEATURES_NE[index] @ self.shift


def task_loss(flat: Tensor, index: Tensor) -> Tensor:
    return functional.cross_entropy(LOGITS32(flat, index), LABELS[index])


def world(**config: Any) -> tuple[Any, Shift, Base, PromptPairs]:
    learner = Shift().requires_grad_(False)
    everyone = torch.arange(COUNT)
    problem = problem_of((LOGITS32, learner(everyone), LABELS))
    base = Base(module=learner, own=learner, problem=problem, overfit=CONFIG, lr=LR)
    initial = learner(everyone)
    pairs = PromptPairs(FEATURES_NE, initial, base.best(initial, everyone))
    generator = make(batch=4, epochs=2, ce_samples=0, ema=0.0, **config)
    return generator, learner, base, pairs


def overfitted(start: Tensor, index: Tensor) -> Tensor:
    """One image at a time, plain gradient descent."""
    out = []
    for i, v in zip(index.tolist(), start.detach(), strict=True):
        v = v.clone()
        for _ in range(CONFIG.steps):
            leaf = v.clone().requires_grad_()
            ce = functional.cross_entropy(LOGITS32(leaf[None], torch.tensor([i]))[0], LABELS[i])
            v = v - LR * torch.autograd.grad(ce, leaf)[0]
        out.append(v)
    return torch.stack(out)


def test_overfitting_starts_at_the_prompts_given() -> None:
    _, _, base, _ = world()
    index = torch.tensor([5, 2, 7, 0, 1])
    start = randn(5, SPEC.size, name="elsewhere", dtype=torch.float32)
    # float32 rounding through three steps
    torch.testing.assert_close(
        base.best(start, index), overfitted(start, index), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("normaliser", ["residual_global", "none"])
def test_a_step_is_the_literal_loss_and_gradient(normaliser: str) -> None:
    """L = CE(V_hat) + |V* - V_hat|^2 with V* = V0 + constant, by V0's own graph."""
    generator, learner, base, pairs = world(normaliser=normaliser)
    generator.normaliser.measure(pairs.initial, pairs.target)
    with torch.no_grad():  # a decoder at zero would hide the input
        for p in generator.network.parameters():
            p += 0.1 * randn(*p.shape, name="moved", dtype=torch.float32)
        learner.ctx += 0.2  # the step must overfit from here, not from where the pairs were
    learner.requires_grad_(True)
    task = JointTask(generator, pairs, task_loss, base)
    index = task.index(1, 0)
    got = task.loss(1, 0)
    got["loss"].backward()
    gradients = [p.grad.clone() for p in learner.parameters()]
    learner.zero_grad()

    initial = learner(index)
    target = initial + (overfitted(initial, index) - initial.detach())
    raw = normaliser == "none"
    scale = torch.ones(SPEC.size) if raw else generator.normaliser.scale
    z = target if raw else (target - initial) / scale
    found = generator.training_loss(z, FEATURES_NE[index], task.stream("noise", 1, 0))
    guess = scale * found.guess + (0 if raw else initial)
    ce = task_loss(guess, index)
    (ce + found.loss).backward()
    # float32: overfitting one image at a time adds in another order
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(got["ce"], ce, **close)
    torch.testing.assert_close(got["diffusion"], found.loss, **close)
    for gradient, parameter in zip(gradients, learner.parameters(), strict=True):
        assert bool(gradient.any())
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-5)


def test_with_stop_gradient_the_learner_feels_the_cross_entropy_alone() -> None:
    """The network's gradient is that of the whole loss all the same."""
    gradients = {}
    for name, config in {
        "whole": {},
        "stopped": {"stop_gradient": True},
        "ce": {"beta": 0.0},
    }.items():
        generator, learner, base, pairs = world(normaliser="none", mode="joint", **config)
        generator.normaliser.measure(pairs.initial, pairs.target)
        with torch.no_grad():
            for p in generator.network.parameters():
                p += 0.1 * randn(*p.shape, name="moved", dtype=torch.float32)
        learner.requires_grad_(True)
        terms = JointTask(generator, pairs, task_loss, base).loss(0, 0)
        terms["loss"].backward()
        expected = terms["ce"] + (name != "ce") * terms["diffusion"]
        torch.testing.assert_close(terms["loss"], expected)
        gradients[name] = (learner.ctx.grad, generator.network.time_encoder.grad)
    close = {"rtol": 1e-4, "atol": 1e-6}  # float32: a sum and its subtraction
    torch.testing.assert_close(gradients["stopped"][0], gradients["ce"][0], **close)
    torch.testing.assert_close(gradients["stopped"][1], gradients["whole"][1], **close)
    assert not torch.allclose(gradients["whole"][0], gradients["ce"][0], **close)


@pytest.mark.parametrize(
    "config",
    [{}, {"normaliser": "none", "recipe": "sgd", "noise": "steps"}, {"prediction": "flow"}],
    ids=["default", "paper", "flow"],
)
def test_learner_and_generator_move_and_the_learner_is_frozen_again(config: Any) -> None:
    generator, learner, base, pairs = world(**config)
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    network = {k: v.clone() for k, v in generator.network.state_dict().items()}
    result = fit_joint(generator, pairs, task_loss, base=base)
    assert result["loss"] == pytest.approx(result["ce"] + result["diffusion"], rel=1e-5)
    learned = base.pairs(FEATURES_NE)  # V0 and V* of the learner as it is now
    assert torch.equal(learned.initial, learner(torch.arange(COUNT)))
    assert not torch.equal(learned.initial, pairs.initial)
    assert set(quality(generator, learned)) == {"generated_mse", "generated_spread"}
    assert all(not torch.equal(v, before[k]) for k, v in learner.state_dict().items())
    assert not torch.equal(generator.network.state_dict()["pi_encoder"], network["pi_encoder"])
    assert not any(p.requires_grad for p in learner.parameters())
    assert not generator.training


def test_joint_training_resumes_bit_for_bit(tmp_path: Any) -> None:
    def run(folder: Any, stop_at: int = 0) -> tuple[Any, Shift]:
        generator, learner, base, pairs = world()
        calls = []

        def loss(flat: Tensor, index: Tensor) -> Tensor:
            calls.append(index)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return task_loss(flat, index)

        saved: Any = {"folder": folder, "fingerprint": "f", "save_every_s": 0}  # always
        fit_joint(generator, pairs, loss, base=base, **saved)
        return generator, learner

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", stop_at=3)
    again = run(tmp_path / "part")
    for one, other in zip(whole, again, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_only_diffusion_is_trained_jointly() -> None:
    job = JobConfig(
        data="scenes", generator="diffusion", overrides=("fit.mode=joint", "fit.ce_weight=1")
    )
    assert job.overrides
    with pytest.raises(ConfigError, match=r"fit\.mode: .*Did you mean 'joint'\?"):
        JobConfig(data="scenes", generator="diffusion", overrides=("fit.mode=jiont",))
