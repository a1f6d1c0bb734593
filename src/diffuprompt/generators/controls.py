"""The controls that a gain from generated prompts has to beat (reference 1.6).

The nearest neighbour and the mean keep an image's own prompts and add a training *residual*
V* - V0, so that an image-dependent part of the learner (CoCoOp's shift) is not thrown away.

Legend: B image of a batch, E embedding, F flat, N training images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.clip import normalize
from diffuprompt.engine import torch_stream
from diffuprompt.generators.types import PromptPairs


class Nearest:
    """The residual of the training image with the most similar feature."""

    def __init__(self, pairs: PromptPairs) -> None:
        self._pairs, self._bank_NE = pairs, normalize(pairs.features)

    def __call__(self, features_BE: Tensor, initial_BF: Tensor) -> Tensor:
        """Return prompts ``(B, F)`` of images with these features and own prompts."""
        at = (normalize(features_BE) @ self._bank_NE.T).argmax(1)
        return initial_BF + (self._pairs.target[at] - self._pairs.initial[at])


class MeanResidual:
    """The mean residual of the training images."""

    def __init__(self, pairs: PromptPairs) -> None:
        self._mean_F = (pairs.target - pairs.initial).mean(0)

    def __call__(self, features_BE: Tensor, initial_BF: Tensor) -> Tensor:
        """Return prompts ``(B, F)`` of images with these own prompts."""
        return initial_BF + self._mean_F


def shuffled_order(count: int, seed: int) -> Tensor:
    """Return ``(N,)``: the image whose feature each image of a test set is given for its own."""
    return torch.randperm(count, generator=torch_stream(seed, "shuffle-pi"))


class NoiseFeatures:
    """Gaussian features in the place of images': the conditions of no image.

    Images are asked for in rising order, ``batch`` at a time; what lies before is drawn and thrown
    away, so that a resumed evaluation draws the same.
    """

    def __init__(self, width: int, batch: int, seed: int) -> None:
        self._width, self._batch = width, batch
        self._stream, self._at = torch_stream(seed, "noise-pi"), 0

    def __call__(self, start: int, count: int) -> Tensor:
        """Return features ``(B, E)`` of ``count`` images from ``start`` on.

        Raises:
            ValueError: ``start`` is no multiple of the batch, or has been passed already.
        """
        if start < self._at or start % self._batch:
            raise ValueError(f"expected a batch from {self._at} on, got {start}")
        while self._at < start:
            self._draw(self._batch)
        return self._draw(count)

    def _draw(self, count: int) -> Tensor:
        self._at += count
        return torch.randn(count, self._width, generator=self._stream)
