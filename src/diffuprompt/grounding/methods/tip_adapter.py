"""Tip-Adapter and Tip-Adapter-F (arXiv 2207.09519) for grounding: a cache of training objects.

Keys are cells of training objects, values their root phrases. A cell that resembles cached ones
gets higher logits for the tokens that resemble their phrases (the paper's eq. 3 and 4, with a
phrase's feature in the place of a one-hot label; weights are averaged because phrases, unlike
classes, have no equal number of shots).

Legend: B sample, A cell, N cached objects, S token, C and D their widths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.grounding.contract import (
    Adaptation,
    Answer,
    Batch,
    Detector,
    Inputs,
    Method,
    Sites,
)
from diffuprompt.grounding.methods.settings import Factor, Settings, Width
from diffuprompt.grounding.methods.shots import training_shots


@dataclass(frozen=True, kw_only=True)
class TipAdapterConfig(Settings):
    """Settings of the cache.

    Attributes:
        size: objects in it; the first of training's.
        alpha: weight of the cache.
        beta: how sharply similarity counts.
        trained: whether the keys are learned (Tip-Adapter-F).
    """

    size: Width = 256
    alpha: Factor = 1.0
    beta: Factor = 5.5
    trained: bool = False


class TipAdapter(Method):
    """Word logits of the most similar training objects; `prepare` fills the cache."""

    keys: Tensor
    values: Tensor
    cell_mean: Tensor
    text_mean: Tensor
    filled: Tensor

    def __init__(self, sites: Sites, config: TipAdapterConfig, init: torch.Generator) -> None:
        super().__init__()
        self.config = config
        channels = sites.levels[0]
        keys = torch.zeros(config.size, channels)
        if config.trained:
            self.keys = nn.Parameter(keys)
        else:
            self.register_buffer("keys", keys)
        self.register_buffer("values", torch.zeros(config.size, sites.language))
        self.register_buffer("filled", torch.zeros(config.size))
        self.register_buffer("cell_mean", torch.zeros(channels))
        self.register_buffer("text_mean", torch.zeros(sites.language))

    def prepare(self, detector: Detector, batches: Callable[[], Iterable[Batch]]) -> None:
        """Fill the cache with training objects; features are centred, so that cosines differ."""
        shots = training_shots(detector, batches, self.config.size)
        count = len(shots.cells)
        with torch.no_grad():
            self.cell_mean.copy_(shots.cells.mean(0))
            self.text_mean.copy_(shots.texts.mean(0))
            self.keys[:count] = functional.normalize(shots.cells - self.cell_mean, dim=-1)
            self.values[:count] = functional.normalize(shots.texts - self.text_mean, dim=-1)
            self.filled[:count] = 1

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return a function of the head's answer."""
        return Adaptation(words=self._words)

    def _words(self, answer: Answer) -> Tensor:
        cells = functional.normalize(answer.cells - self.cell_mean, dim=-1)
        texts = functional.normalize(answer.language - self.text_mean, dim=-1)
        near = torch.exp(self.config.beta * (cells @ self.keys.T - 1)) * self.filled  # (B, A, N)
        alike = self.values @ texts.transpose(1, 2)  # (B, N, S)
        # The 1 keeps cells that resemble nothing in the cache as they are.
        return answer.words + self.config.alpha * (near @ alike) / (1 + near.sum(-1, keepdim=True))
