"""Generators that contracts run on: untrained, and briefly trained on a learner's own V*."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from tests.contract.cases import build
from tests.contract.towers import NAMES, pictures, rows
from torch import Tensor

from diffuprompt.clip.model import Clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.diffusion.amed_fit import AmedFit, fit_amed
from diffuprompt.diffusion.transformer import TransformerConfig
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import FitConfig, OverfitConfig
from diffuprompt.generators.descent import Problem
from diffuprompt.generators.fitting import fit
from diffuprompt.generators.kinds import KINDS
from diffuprompt.generators.overfitting import overfit
from diffuprompt.generators.registry import build_generator
from diffuprompt.generators.types import PromptPairs
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes

GENERATORS = ("untrained", "trained")  # of diffusion, on every tower
RIVALS = tuple(name for name in KINDS if name != "diffusion")  # trained, on one tower
SMALL = TransformerConfig(width=32, layers=2, heads=4, dropout=0.0, num_frequencies=8)


def hurry_amed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit AMED with a few updates only."""
    quick = AmedFit(interval_steps=4, end_steps=6, teacher_points=4)
    hurried = partial(fit_amed, config=quick)
    monkeypatch.setattr("diffuprompt.generators.prompt_diffusion.fit_amed", hurried)


def shrink_networks(monkeypatch: pytest.MonkeyPatch, config: TransformerConfig = SMALL) -> None:
    """Let every preset of the denoising network be a small one."""
    made = classmethod(lambda cls, name, **changes: replace(config, **changes))
    monkeypatch.setattr(TransformerConfig, "preset", made)


@cache
def generator_for(kind: str, case: str, clip: Clip, name: str = "diffusion") -> PromptGenerator:
    """A generator of prompts for one learner, made once per process.

    Two epochs hardly look at the condition, so "trained" weights are then moved at random: what
    holds for them holds for any.
    """
    learner = build(case, clip, moved=True).requires_grad_(False)
    settings = {"epochs": 2, "batch": 2, "lr": 2e-2, "ce_weight": 1.0, "ce_samples": 1}
    fitting = FitConfig(**{**KINDS[name].defaults.get("fit", {}), **settings})
    width = clip.config.embed_dim
    generator = build_generator(name, learner.spec, width, KINDS[name].config(), fitting, seed=3)
    generator.to(clip.logit_scale.dtype)
    if kind == "trained":
        images, classes = pictures(clip, 4), Classes(NAMES)
        logits = flat_logits(learner, images, classes)
        own = own_flat(learner, images)
        problem = Problem(logits=logits, initial=own, labels=images.labels)
        best = overfit(problem, OverfitConfig(steps=2, lr=0.3))
        loss = torch.nn.functional.cross_entropy
        fit(
            generator,
            PromptPairs(images.features, own, best.prompts),
            lambda flat, index: loss(logits(flat, index), images.labels[index]),
        )
        stream = torch_stream(2, "moved", case)
        with torch.no_grad():
            for p in generator.network.parameters():
                p += 0.15 * torch.randn(p.shape, generator=stream)
    return generator.eval().requires_grad_(False)


def own_flat(learner: Learner, images: ImageBatch) -> Tensor:
    """The learner's own prompts of every image in the tower's precision, ``(B, F)``."""
    own = learner.spec.pack(learner.prompts(images.features)).detach()
    return own.expand(len(images), -1).to(images.features.dtype)


def flat_logits(learner: Learner, images: ImageBatch, classes: Classes) -> Any:
    """``logits(flat (B, F), index (B,)) -> (B, C)``."""
    return lambda flat, index: learner.logits(
        rows(images, index), classes, learner.spec.unpack(flat)
    )


def predict(
    learner: Learner, generator: PromptGenerator, images: ImageBatch, classes: Classes
) -> Tensor:
    """Logits under generated prompts, from pixels to the end."""
    features = learner.features(ImageBatch(images.pixels, None, images.index))
    own = learner.spec.pack(learner.prompts(features)).to(features.dtype)
    flat = generator.sample(features, own)
    return learner.logits(images, classes, learner.spec.unpack(flat))
