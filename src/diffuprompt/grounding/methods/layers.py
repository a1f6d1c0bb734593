"""Layers whose initial weights come from a stream, in torch's default ranges; no draw of their own.

Legend: B sample, P prompts, C width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)
STD = 0.02  # of prompts that are learned freely


def linear(width_in: int, width_out: int, init: torch.Generator, *, bias: bool = True) -> nn.Linear:
    """Return a linear map."""
    made = nn.utils.skip_init(nn.Linear, width_in, width_out, bias=bias)
    return _drawn(made, width_in, init)


def conv(
    channels_in: int,
    channels_out: int,
    size: int,
    init: torch.Generator,
    *,
    stride: int = 1,
    padding: int = 0,
) -> nn.Conv2d:
    """Return a convolution of ``size x size``."""
    made = nn.utils.skip_init(
        nn.Conv2d, channels_in, channels_out, size, stride=stride, padding=padding
    )
    return _drawn(made, channels_in * size * size, init)


def normal(*shape: int, init: torch.Generator, std: float = STD) -> nn.Parameter:
    """Return a parameter drawn from N(0, std)."""
    return nn.Parameter(torch.randn(shape, generator=init) * std)


class LearnedPrompts(nn.Module):
    """Prompts ``(length, width)`` of their own for each of a tower's first layers."""

    def __init__(
        self, widths: Sequence[int], length: int, init: torch.Generator, *, std: float = STD
    ) -> None:
        super().__init__()
        self.prompts = nn.ParameterList(
            normal(length, width, init=init, std=std) for width in widths
        )

    def forward(self, batch: int) -> list[Tensor]:
        """Return ``(B, P, C)`` for each layer, the same for every sample."""
        return [prompts.expand(batch, -1, -1) for prompts in self.prompts]


def _drawn(layer: Layer, fan_in: int, init: torch.Generator) -> Layer:
    """Return the layer with all its parameters drawn uniformly within 1 / sqrt(fan_in)."""
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -(fan_in**-0.5), fan_in**-0.5, generator=init)
    return layer
