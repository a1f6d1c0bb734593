"""Gaussian-weighted prompt aggregation: the mean of learnables over epochs (PromptSRC, eq. 7-8)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def gaussian_weights(mean: float, std: float, epochs: int) -> list[float]:
    """Return ``w_e`` proportional to N(e; mean, std) for e = 1..epochs, with sum 1."""
    # The largest exponent is taken out first, or a mean far from all epochs gives 0 / 0.
    exponents = [-0.5 * ((e - mean) / std) ** 2 for e in range(1, epochs + 1)]
    values = [math.exp(x - max(exponents)) for x in exponents]
    return [value / sum(values) for value in values]


class PromptAggregation:
    """Sums weighted learnables at epoch ends; after the last epoch the sum takes their place.

    Only learnables, in fp32; the authors' code also averages the frozen fp16 towers, which only
    adds rounding.
    """

    def __init__(self, mean: float, std: float) -> None:
        self.mean, self.std = mean, std
        self._sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def after_epoch(self, module: nn.Module, epoch: int, epochs: int) -> None:
        """Count epoch ``epoch`` (from 0) of ``epochs``."""
        weight = gaussian_weights(self.mean, self.std, epochs)[epoch]
        if epoch == 0:
            self._sums = {}
        for name, p in module.named_parameters():
            before = self._sums.get(name, torch.zeros_like(p, dtype=torch.float32))
            self._sums[name] = before + weight * p.float()
            if epoch == epochs - 1:
                p.copy_(self._sums[name])

    def state(self) -> dict[str, Tensor]:
        """Return the sums so far."""
        return dict(self._sums)

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take back what `state` returned."""
        self._sums = {name: value.to(device) for name, value in state.items()}
