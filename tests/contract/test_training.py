"""Training reaches every learnable and nothing else."""

from __future__ import annotations

import pytest
import torch
from tests.contract.cases import PROMPTED, RENDERING, build
from tests.contract.towers import pictures, tower
from tests.contract.views import image_set

from diffuprompt.engine.loop import train
from diffuprompt.learners.presets import TrainConfig
from diffuprompt.stages.learner_task import LearnerTask


def test_every_slot_receives_gradient(prompted, images, classes):
    """At every prompt vector of every slot, for every image and class that owns one."""
    flat = prompted.spec.pack(prompted.prompts(images.features)).double().detach()
    flat = flat.expand(len(images), -1).clone().requires_grad_()
    logits = prompted.logits(images, classes, prompted.spec.unpack(flat))
    (grad,) = torch.autograd.grad(
        torch.nn.functional.cross_entropy(logits, images.labels, reduction="sum"), flat
    )
    for name, tensor in prompted.spec.unpack(grad).items():
        assert bool((tensor.norm(dim=-1) > 0).all()), name


def test_every_learnable_receives_gradient(prompted, images, classes):
    prompted.loss(images, classes)["loss"].backward()
    for name, p in prompted.named_parameters():
        assert p.grad is not None, name
        assert float(p.grad.abs().max()) > 0, name


def test_the_loss_is_the_cross_entropy(learner, images, classes):
    terms = learner.loss(images, classes)
    loss = terms.get("ce", terms["loss"])  # by itself where other terms are added
    log_p = learner.logits(images, classes).log_softmax(1)
    want = -log_p[torch.arange(len(images)), images.labels].mean()
    # the mean of three float64 numbers, in another order of operations
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=0)


def test_prompts_given_from_outside_bypass_the_learnables(prompted, images, classes):
    """A generated tensor replaces all that the learner would have made, shifts included."""
    flat = prompted.spec.pack(prompted.prompts(images.features)).detach()
    logits = prompted.logits(images, classes, prompted.spec.unpack(flat))
    own = [p for n, p in prompted.named_parameters() if not n.startswith(RENDERING)]
    if len(own) == len(list(prompted.parameters())):
        assert not logits.requires_grad
    with torch.no_grad():
        for p in own:
            p.add_(1.0)
    again = prompted.logits(images, classes, prompted.spec.unpack(flat))
    assert torch.equal(again, logits)


def test_the_state_holds_learnables_only(learner):
    state, clip = learner.state_dict(), learner.clip
    learned = {n for n, _ in learner.named_parameters()}
    found = {n for n, _ in learner.named_buffers()}  # Tip-Adapter's cache
    assert learned | found == set(state)
    assert sum(state[n].numel() for n in learned) == learner.num_trainable()
    frozen = {t.untyped_storage().data_ptr() for t in clip.state_dict().values()}
    assert not frozen & {t.untyped_storage().data_ptr() for t in state.values()}
    assert not any(m is clip for m in learner.modules())
    assert not any(p.requires_grad for p in clip.parameters())
    learner.train()
    assert not clip.training


@pytest.mark.usefixtures("untouched")
def test_training_moves_the_learner_and_not_the_tower(prompted, images, classes):
    before = {name: p.detach().clone() for name, p in prompted.named_parameters()}
    data = image_set(prompted.clip, images, classes)
    task = LearnerTask(prompted, data, TrainConfig(epochs=2, batch=2, lr=0.1), seed=0)
    train(task, task.optimiser(), epochs=2, steps_per_epoch=task.steps_per_epoch)
    for name, p in prompted.named_parameters():
        assert not torch.equal(p, before[name]), name


@pytest.mark.parametrize("case", [c for c in PROMPTED if c != "probe"])
def test_training_lowers_the_loss(case, classes):
    """The whole recipe on three images: a learner that learns remembers them."""
    clip = tower("plain-vit", torch.float64)
    learner, images = build(case, clip, moved=False), pictures(clip, 3)
    config = TrainConfig(epochs=10, batch=3, lr=0.5)
    task = LearnerTask(learner, image_set(clip, images, classes, noise=0.0), config, seed=0)

    def loss() -> float:  # the same draws each time, for losses that draw a sentence
        draws = torch.Generator().manual_seed(0)
        return float(learner.loss(images, classes, draws)["loss"].detach())

    before = loss()
    train(task, task.optimiser(), epochs=10, steps_per_epoch=task.steps_per_epoch)
    # measured: every case falls by a fifth or more
    assert loss() < 0.9 * before
