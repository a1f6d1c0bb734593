"""The controls that a gain from diffusion has to beat (reference 1.6).

Each returns flat prompts ``(B, F)`` for images with features ``(B, E)`` and own prompts ``(B, F)``.
The nearest neighbour and the mean keep an image's own prompts and add a training *residual*, so
that an image-dependent part of the learner (CoCoOp's shift) is not thrown away.

Legend: B image, E embedding, F flat, N training images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffuprompt.clip.model import normalize
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.types import PromptPairs

Control = Callable[[Tensor, Tensor], Tensor]


def control_prompts(
    generator: PromptGenerator, pairs: PromptPairs, seed: int
) -> dict[str, Control]:
    """Return every control that needs no label: name -> ``(features, initial) -> prompts``.

    "regression" is there where a generator has one, see `PromptGenerator.regression`.
    """
    residual_NF = pairs.target - pairs.initial
    bank_NE = normalize(pairs.features)

    def shuffled(features_BE: Tensor, initial_BF: Tensor) -> Tensor:
        """Pi of another image of the same test set."""
        order = torch.randperm(len(features_BE), generator=torch_stream(seed, "shuffle-pi"))
        return generator.sample(features_BE[order.to(features_BE.device)], initial_BF)

    def noise(features_BE: Tensor, initial_BF: Tensor) -> Tensor:
        """Pi of no image: Gaussian features."""
        random = torch.randn(features_BE.shape, generator=torch_stream(seed, "noise-pi"))
        return generator.sample(random.to(features_BE), initial_BF)

    def nearest(features_BE: Tensor, initial_BF: Tensor) -> Tensor:
        """The residual of the training image with the most similar feature."""
        return initial_BF + residual_NF[(normalize(features_BE) @ bank_NE.T).argmax(1)]

    def mean(features_BE: Tensor, initial_BF: Tensor) -> Tensor:
        """The mean residual of the training images."""
        return initial_BF + residual_NF.mean(0)

    every: dict[str, Control] = {
        "shuffled": shuffled,
        "noise": noise,
        "nearest": nearest,
        "mean": mean,
    }
    if generator.kind.stepwise:
        return {"regression": generator.regression, **every}
    return every
