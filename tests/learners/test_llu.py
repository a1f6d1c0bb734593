"""LLU by its definition: where it acts, and what pulls it back."""

from __future__ import annotations

import math

import pytest
import torch
from tests.contract.towers import NAMES
from tests.learners.cases import Images, world

from diffuprompt.data.images import ImageBatch
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.learners import llu_learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.llu_learner import LLU
from diffuprompt.learners.registry import build_learner


def llu(**options: float) -> tuple[LLU, ImageBatch, Classes]:
    """A learner whose maps are away from the identity."""
    clip, images, classes = world()
    learner = build_learner("llu", clip, options)
    assert isinstance(learner, LLU)
    learner.start(Images(clip))
    with torch.no_grad():
        for p in learner.maps.parameters():
            p += 0.2 * torch.randn(p.shape, generator=torch_stream(0, "llu"))
    return learner.double(), images, classes


def axes(learner: LLU, *, centres: int) -> torch.Tensor:
    """Unit vectors of the feature space; the first few become the image centres."""
    every = torch.eye(learner.clip.config.embed_dim, dtype=torch.float64)
    learner.image_centres = every[:centres]
    return every


def test_the_share_falls_from_the_gate_with_the_distance_of_the_nearest_centre():
    learner, _, _ = llu(gate=0.5, gamma=10.0)
    z = axes(learner, centres=3)
    between = (0.6 * z[1] + 0.8 * z[7])[None]  # distance 0.4 of its nearest centre
    shares = learner.shares("image", torch.cat([z[:1], between, z[7:8], -z[:1]]))[:, 0]
    far = 0.5 * math.exp(-10)  # 2.3e-5, the most that a new class is moved
    want = torch.tensor([0.5, 0.5 * math.exp(-4), far, far], dtype=torch.float64)
    torch.testing.assert_close(shares, want, rtol=1e-12, atol=0)


def test_far_below_any_distance_only_centres_move():
    learner, _, _ = llu(gamma=1e6)
    z = axes(learner, centres=3)
    moved = learner._updated("image", z[:5])
    torch.testing.assert_close(moved[3:], z[3:5], rtol=0, atol=1e-15)
    weight, bias = learner.maps["image"].weight, learner.maps["image"].bias
    update = weight[:, 0] + bias
    want = 0.5 * update / update.norm() + 0.5 * z[0]
    torch.testing.assert_close(moved[0], want / want.norm(), rtol=1e-12, atol=1e-15)


def test_the_order_of_centres_does_not_matter():
    learner, images, classes = llu(gamma=1.0)
    before = learner.logits(images, classes)
    learner.image_centres = learner.image_centres.flip(0)
    learner.text_centres = learner.text_centres.flip(0)
    assert torch.equal(learner.logits(images, classes), before)


def test_nothing_of_all_distances_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, _, _ = llu(gamma=1.0)
    z = torch.nn.functional.normalize(learner.image_centres.flip(0) + 0.3, dim=-1)
    whole, kept = learner.shares("image", z), list[torch.Size]()
    monkeypatch.setattr(llu_learner, "BLOCK", 3)  # ten centres: the last block is of one
    moving = z.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda _: None):
        shares = learner.shares("image", moving)
    assert not kept
    assert not shares.requires_grad
    torch.testing.assert_close(shares, whole, rtol=1e-12, atol=0)


def test_names_that_were_trained_are_at_a_centre_and_new_ones_are_not():
    learner, _, classes = llu()
    text = torch.nn.functional.normalize(learner._own_text(classes)[0], dim=-1)
    shares = learner.shares("text", text)[:, 0]
    torch.testing.assert_close(shares[:4], torch.full_like(shares[:4], 0.5), rtol=1e-5, atol=0)
    assert float(shares[4:].max()) < 0.45


def test_the_loss_pulls_towards_the_identity_by_mean_squares():
    learner, images, classes = llu(pull=100.0)
    terms = learner.loss(images, classes)
    total = 0.0
    for part in learner.maps.values():
        total += float((part.weight - torch.eye(len(part.weight))).square().mean().detach())
        total += float(part.bias.square().mean().detach())
    assert float(terms["identity"].detach()) == pytest.approx(100 * total)
    assert float(terms["loss"].detach()) == pytest.approx(float(terms["ce"].detach()) + 100 * total)
    fresh = build_learner("llu", learner.clip, {})
    fresh.start(Images(learner.clip))
    assert float(fresh.loss(images, classes)["identity"].detach()) == 0


def test_without_centres_it_says_when_they_are_found():
    clip, images, _ = world()
    with pytest.raises(ConfigError, match="llu has no centres yet; they are found before training"):
        build_learner("llu", clip, {}).logits(images, Classes(NAMES))
