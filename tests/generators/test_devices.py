"""Overfitting and generators on an accelerator: no float64, and no step that waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.accelerator import DEVICE, accelerator
from tests.contract.generators import SMALL, shrink_networks
from tests.contract.towers import NAMES, pictures, tiny
from tests.generators.toy import BOTH, linear_pairs, make, make_any, never, randn as numbers

from diffuprompt.engine.loop import train
from diffuprompt.engine.optim import Optimiser
from diffuprompt.errors import TrainingError
from diffuprompt.generators.calibrate import calibrate
from diffuprompt.generators.config import FitConfig, OverfitConfig
from diffuprompt.generators.descent import Problem, descend
from diffuprompt.generators.fitting import fit, make_task
from diffuprompt.generators.normalise import NORMALISERS, make_normaliser
from diffuprompt.generators.overfitting import overfit
from diffuprompt.generators.spectrum import measure
from diffuprompt.generators.types import PromptPairs
from diffuprompt.hub.predictive import predictive
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.cocoop_learner import CoCoOp
from diffuprompt.learners.methods.cocoop import CoCoOpOptions
from diffuprompt.stages.metrics import Answers, measures

PLAIN = {"ce_weight": 0.0, "epochs": 3}


def there(pairs: PromptPairs) -> PromptPairs:
    return PromptPairs(*(t.to(DEVICE) for t in (pairs.features, pairs.initial, pairs.target)))


@pytest.mark.parametrize("name", ["diffusion", "gan", "vae", "mlp"])  # zuko's flow waits itself
def test_a_step_of_fitting_waits_for_nobody(name, monkeypatch):
    """More steps do not wait more often; what is left is before and after training."""
    monkeypatch.setattr("diffuprompt.engine.guard.MIN_GAP_S", 1e9)
    shrink_networks(monkeypatch)
    waits = []
    for epochs in (1, 2):
        with accelerator() as found:
            generator = make_any(name, ce_weight=0.0, epochs=epochs).to(DEVICE)
            fit(generator, there(linear_pairs(8)), never)
            waits.append(sum(found.waits.values()))
    assert waits[0] == waits[1]


def test_a_network_with_dropout_and_without_some_conditions_too(monkeypatch):
    monkeypatch.setattr("diffuprompt.engine.guard.MIN_GAP_S", 1e9)
    shrink_networks(monkeypatch, replace(SMALL, dropout=0.1))
    with accelerator() as found:
        generator = make(drop_condition=0.1, **PLAIN).to(DEVICE)
        pairs = there(linear_pairs(8))
        generator.normaliser.measure(pairs.initial, pairs.target)
        task = make_task(generator.train(), pairs, never)
        found.waits.clear()
        for step in range(2):
            task.loss(0, step)["loss"].backward()
            task.after_step(0, step)
        assert not +found.waits


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "amed"])
def test_samples_agree_with_the_cpu(sampler, monkeypatch):
    shrink_networks(monkeypatch)
    near, pairs = make(sampler=sampler, **PLAIN).eval(), linear_pairs(3)
    near.normaliser.measure(pairs.initial, pairs.target)
    with torch.no_grad():
        for p in near.network.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    with accelerator() as found:
        far = make(sampler=sampler, **PLAIN)
        far.load_state_dict(near.state_dict())
        far = far.eval().to(DEVICE)
        features, initial = pairs.features.to(DEVICE), pairs.initial.to(DEVICE)
        found.waits.clear()
        out = far.sample(features, initial)
        assert not +found.waits
        out = out.detach().cpu()
    torch.testing.assert_close(out, near.sample(pairs.features, pairs.initial), rtol=0, atol=1e-4)


def test_a_broken_critic_is_never_saved(monkeypatch):
    """It moves after the training loop's own guard has looked, so the task has one more."""
    monkeypatch.setattr("diffuprompt.engine.guard.MIN_GAP_S", 1e9)
    shrink_networks(monkeypatch)
    nothing = lambda *_: torch.full((4,), float("nan"))  # noqa: E731
    pairs = linear_pairs(8)

    def broken_task(pairs, device):
        generator = make_any("gan", ce_weight=0.0).to(device)
        generator.normaliser.measure(pairs.initial, pairs.target)
        task = make_task(generator, pairs, never)
        monkeypatch.setattr(
            task.critic, "forward", lambda z, f: task.critic.score.bias * nothing().to(device)
        )
        return task

    task = broken_task(pairs, torch.device("cpu"))
    with pytest.raises(TrainingError, match=r"epoch 0, step 1 .*the critic's 'loss' is nan"):
        task.after_step(0, 1)
    with accelerator():
        task = broken_task(there(pairs), DEVICE)
        task.after_step(0, 1)
        with pytest.raises(TrainingError, match=r"epoch 0, step 1 .*the critic's 'loss' is nan"):
            task.state()


@pytest.mark.parametrize("name", NORMALISERS)
def test_normalisers_measure_without_float64(name):
    initial, target = numbers(12, BOTH.size, name="i").float(), numbers(12, BOTH.size, name="t")
    target = target.float()
    near = make_normaliser(FitConfig(normaliser=name, rank=8), BOTH)
    told = near.measure(initial, target)
    with accelerator():
        far = make_normaliser(FitConfig(normaliser=name, rank=8), BOTH).to(DEVICE)
        assert far.measure(initial.to(DEVICE), target.to(DEVICE)) == pytest.approx(told, rel=1e-5)
        z = far.encode(target.to(DEVICE), initial.to(DEVICE)).cpu()
    torch.testing.assert_close(z, near.encode(target, initial), rtol=1e-4, atol=1e-4)


def test_what_needs_float64_is_computed_on_the_host():
    """Float32 differences on both sides, so the same numbers but for the last bit."""
    initial, target = (numbers(9, 20, name=n).float() for n in ("i", "t"))
    draws, labels = numbers(3, 6, 4, name="p").float().softmax(2), torch.arange(6) % 4
    near = measure(initial, target).statistics()
    with accelerator():
        assert measure(initial.to(DEVICE), target.to(DEVICE)).statistics() == pytest.approx(near)
        far = predictive(draws.to(DEVICE))
        scored = scores([d.log().to(DEVICE) for d in draws], labels.to(DEVICE))
        one = scores([draws[0].log().to(DEVICE)], labels.to(DEVICE))
    assert torch.equal(far.probabilities, predictive(draws).probabilities)
    assert scored == pytest.approx(scores([d.log() for d in draws], labels), rel=1e-6)
    assert one == pytest.approx(scores([draws[0].log()], labels), rel=1e-6)


def scores(logits: list[torch.Tensor], labels: torch.Tensor) -> dict[str, float]:
    answers = Answers.empty(len(labels))
    answers.put(0, logits, labels)
    return measures(answers, labels)


def cocoop_problem(device: torch.device, listed: bool) -> Problem:
    """CoCoOp's prompts of six pictures on a tiny tower."""
    clip = tiny("plain-vit", torch.float32)
    images = pictures(clip, 6)
    clip, images = clip.to(device), images.to(device)
    classes, stream = Classes(NAMES), torch.Generator().manual_seed(0)
    learner = CoCoOp(clip, CoCoOpOptions(), generator=stream).requires_grad_(False)
    own = learner.spec.pack(learner.prompts(images.features))

    def logits(flat, index, some=None, /):
        chosen = classes if some is None else classes.select(some.tolist())
        return learner.logits(images.select(index), chosen, learner.spec.unpack(flat))

    lists = None
    if listed:
        lists = torch.stack([torch.tensor(sorted({i, (i + 1) % 6, (i + 2) % 6})) for i in range(6)])
        lists = lists.to(device)
    return Problem(logits=logits, initial=own, labels=images.labels, lists=lists)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_steps_of_overfitting_wait_for_nobody(listed, optimiser):
    """A batch is looked at once, and its class list read once, however many steps it takes."""
    found_waits, config = [], OverfitConfig(steps=2, optimiser=optimiser)
    near = cocoop_problem(torch.device("cpu"), listed)
    part = near.batches(torch.arange(6), 4)[0]
    want = descend(near, part, config, 0.01)["prompts"]
    with accelerator() as found:
        far = cocoop_problem(DEVICE, listed)
        index = part.to(DEVICE)
        got = descend(far, index, config, 0.01)["prompts"].cpu()
        for steps in (1, 6):
            found.waits.clear()
            descend(far, index, OverfitConfig(steps=steps, optimiser=optimiser), 0.01)
            found_waits.append(sum(found.waits.values()))
    assert found_waits[0] == found_waits[1] == 1 + listed
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_calibration_and_overfitting_run_there_and_resume(tmp_path, monkeypatch):
    monkeypatch.setattr("diffuprompt.generators.calibrate.LADDER", 1)
    monkeypatch.setattr("diffuprompt.generators.calibrate.STEPS", 1)
    config = OverfitConfig(steps=1, batch=4)
    with accelerator():
        problem = cocoop_problem(DEVICE, True)
        lr = calibrate(problem, config)
        whole = overfit(problem, config, lr=lr, keep=[1], folder=tmp_path)
        again = overfit(problem, config, lr=lr, keep=[1], folder=tmp_path)
        assert torch.equal(whole.prompts.cpu(), again.prompts.cpu())
        assert torch.equal(whole.iterates[1].cpu(), again.iterates[1].cpu())
    near = cocoop_problem(torch.device("cpu"), True)
    assert calibrate(near, config) == pytest.approx(lr, rel=1e-5)


def test_a_training_step_of_cocoop_waits_for_nobody(monkeypatch):
    monkeypatch.setattr("diffuprompt.engine.guard.MIN_GAP_S", 1e9)
    clip = tiny("plain-vit", torch.float32)
    images, classes = pictures(clip, 6), Classes(NAMES)

    class Steps:
        def __init__(self, learner, images):
            self.learner, self.images = learner, images

        def parameters(self):
            return self.learner.parameters()

        def loss(self, epoch, step):
            return self.learner.loss(self.images.select(slice(step, step + 1)), classes)

        def after_step(self, epoch, step):
            return None

        def after_epoch(self, epoch):
            return None

    with accelerator() as found:
        learner = CoCoOp(clip.to(DEVICE), CoCoOpOptions())
        task = Steps(learner, images.to(DEVICE))
        train(task, Optimiser(), epochs=2, steps_per_epoch=3)
        assert +found.waits == {"a copy to the host": 1}  # the numbers of all six, at the end
