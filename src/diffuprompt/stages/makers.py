"""What makes the prompts of a batch of test images: a generator, or what it has to beat.

Legend: B image of a batch, F flat, N all images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffuprompt.engine import NULL
from diffuprompt.generators import (
    MeanResidual,
    Nearest,
    NoiseFeatures,
    OverfitConfig,
    Problem,
    PromptGenerator,
    PromptPairs,
    overfit,
    shuffled_order,
)
from diffuprompt.learners import Learner
from diffuprompt.stages import score
from diffuprompt.stages.flat_prompts import learner_logits, own_of
from diffuprompt.stages.image_set import ImageSet
from diffuprompt.stages.overfit import class_lists, with_batch
from diffuprompt.stages.score import Ask, Images, Maker

ORACLE_MIB = 64  # of prompts that the oracle holds at once


def generated_prompts(generator: PromptGenerator, **sampling: Any) -> Maker:
    """Return what samples a generator; ``sampling`` are further arguments of its `sample`."""

    @torch.no_grad()
    def make(ask: Ask) -> Tensor:
        return generator.sample(ask.features, ask.initial, **sampling)

    return make


def control_prompts(
    name: str,
    generator: PromptGenerator,
    images: Images,
    pairs: Callable[[], PromptPairs],
    seed: int,
) -> Maker:
    """Return one control that needs no label.

    Args:
        name: "regression", "shuffled" (the condition of another image of the test set), "noise"
            (of none), "nearest" or "mean".
        generator: what the control is compared with.
        images: the test set.
        pairs: returns the training images with V*, for "nearest" and "mean" only.
        seed: of the order and of the noise.
    """
    if name == "regression":
        return _without_gradients(generator.regression)
    if name == "nearest":
        return _without_gradients(Nearest(pairs()))
    if name == "mean":
        return _without_gradients(MeanResidual(pairs()))
    sample = generated_prompts(generator)
    if name == "shuffled":
        order = shuffled_order(len(images), seed)
        return lambda ask: sample(replace(ask, features=images.rows(order[ask.index])))
    assert name == "noise", name
    noise = NoiseFeatures(generator.condition_width, score.BATCH, seed)

    def from_noise(ask: Ask) -> Tensor:
        drawn = noise(int(ask.index[0]), len(ask.index)).to(ask.features)
        return sample(replace(ask, features=drawn))

    return from_noise


def oracle_prompts(learner: Learner, images: ImageSet, config: OverfitConfig, lr: float) -> Maker:
    """Return V* of test images, found with their labels: an upper bound and no method.

    Prompts are overfitted some batches ahead, as many as `ORACLE_MIB` holds, and forgotten when
    they are scored.
    """
    lists = class_lists(config, learner, images)
    config = with_batch(config, learner, images, lists)
    size = ORACLE_MIB * 2**20 // (4 * learner.spec.size)
    block = max(score.BATCH, size - size % score.BATCH)
    held: dict[int, Tensor] = {}  # start of a block -> its prompts

    def make(ask: Ask) -> Tensor:
        start = int(ask.index[0]) // block * block
        if start not in held:
            held.clear()
            held[start] = _overfitted(learner, images, config, lr, lists, start, block)
        first = int(ask.index[0]) - start  # a batch is consecutive images
        return held[start][first : first + len(ask.index)]

    return make


def _overfitted(
    learner: Learner,
    images: ImageSet,
    config: OverfitConfig,
    lr: float,
    lists_CM: Tensor | None,
    start: int,
    block: int,
) -> Tensor:
    """Return V* ``(B, F)`` of the test images of one block."""
    index = torch.arange(start, min(start + block, len(images)), device=images.labels.device)
    every = learner_logits(learner, images)
    places: list[tuple[Tensor, Tensor]] = []  # the batch at hand, and where it is in the test set

    def logits(flat_BF: Tensor, at_B: Tensor, classes_M: Tensor | None = None, /) -> Tensor:
        if not places or places[0][0] is not at_B:  # several steps on one batch look it up once
            places[:] = [(at_B, index[at_B])]
        return every(flat_BF, places[0][1], classes_M)

    problem = Problem(
        logits=logits,
        initial=own_of(learner, images.rows(index)),
        labels=images.labels[index],
        lists=lists_CM,
    )
    return overfit(problem, config, lr=lr, progress=NULL).prompts


def _without_gradients(make: Callable[[Tensor, Tensor], Tensor]) -> Maker:
    @torch.no_grad()
    def made(ask: Ask) -> Tensor:
        return make(ask.features, ask.initial)

    return made
