"""Bottlenecks on what layers put out: Adapter+ and MMA.

Legend: C width of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Sites
from diffuprompt.grounding.methods.layers import linear, normal
from diffuprompt.grounding.methods.settings import Depth, Factor, Settings, Width

HOULSBY_STD = 0.01


@dataclass(frozen=True, kw_only=True)
class AdapterPlusConfig(Settings):
    """``rank`` of the bottleneck behind every layer of both towers."""

    rank: Width = 8


class AdapterPlus(Method):
    """Adapter+ (arXiv 2406.06820): behind every layer, scaled channel by channel (its eq. 8).

    Weights start as Houlsby's do, the paper's choice: N(0, 0.01), no biases, scales of 1.
    """

    def __init__(self, sites: Sites, config: AdapterPlusConfig, init: torch.Generator) -> None:
        super().__init__()
        self.visual = nn.ModuleList(ScaledAdapter(w, config.rank, init) for w in sites.visual)
        self.textual = nn.ModuleList(ScaledAdapter(w, config.rank, init) for w in sites.textual)

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return functions of all layers' outputs."""
        return Adaptation(visual_layers=[*self.visual], textual_layers=[*self.textual])


class ScaledAdapter(nn.Module):
    """Down, GELU, up, times a learned scale of each channel; residual."""

    def __init__(self, width: int, rank: int, init: torch.Generator) -> None:
        super().__init__()
        self.down = normal(rank, width, init=init, std=HOULSBY_STD)
        self.up = normal(width, rank, init=init, std=HOULSBY_STD)
        self.down_bias = nn.Parameter(torch.zeros(rank))
        self.up_bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(..., C)``."""
        hidden = functional.gelu(functional.linear(x, self.down, self.down_bias))
        return x + self.scale * functional.linear(hidden, self.up, self.up_bias)


@dataclass(frozen=True, kw_only=True)
class MmaConfig(Settings):
    """Settings of MMA.

    Attributes:
        visual: upper blocks of the image tower that are adapted.
        textual: upper layers of the text tower that are adapted.
        rank: width of the bottleneck that both towers share.
        scale: weight of what is added; the paper's is 0.001, for CLIP's large features.
    """

    visual: Depth = 3
    textual: Depth = 2
    rank: Width = 32
    scale: Factor = 0.1


class Mma(Method):
    """MMA (Yang et al., CVPR 2024): bottlenecks of the upper layers, their middle shared by towers.

    Only upper layers are adapted, since lower ones hold what all data sets have in common; the
    i-th adapted layers from the top share one linear map of the bottleneck.
    """

    def __init__(self, sites: Sites, config: MmaConfig, init: torch.Generator) -> None:
        super().__init__()
        self.config = config
        visual = _upper(sites.visual, config.visual)
        textual = _upper(sites.textual, config.textual)
        rank = config.rank
        self.shared = nn.ModuleList(
            linear(rank, rank, init) for _ in range(max(len(visual), len(textual)))
        )
        self.visual_down = nn.ModuleList(linear(width, rank, init) for width in visual)
        self.visual_up = nn.ModuleList(linear(rank, width, init) for width in visual)
        self.textual_down = nn.ModuleList(linear(width, rank, init) for width in textual)
        self.textual_up = nn.ModuleList(linear(rank, width, init) for width in textual)
        self.below = (len(sites.visual) - len(visual), len(sites.textual) - len(textual))

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return functions of the upper layers' outputs."""
        return Adaptation(
            visual_layers=self._tower(self.below[0], self.visual_down, self.visual_up),
            textual_layers=self._tower(self.below[1], self.textual_down, self.textual_up),
        )

    def _tower(
        self, below: int, downs: nn.ModuleList, ups: nn.ModuleList
    ) -> list[partial[Tensor] | None]:
        shared = [*self.shared][: len(downs)][::-1]
        changes = [
            partial(self._adapted, down, middle, up)
            for down, middle, up in zip(downs, shared, ups, strict=True)
        ]
        return [*[None] * below, *changes]

    def _adapted(self, down: nn.Module, middle: nn.Module, up: nn.Module, x: Tensor) -> Tensor:
        hidden = functional.relu(middle(functional.relu(down(x))))
        return x + self.config.scale * up(hidden)


def _upper(widths: Sequence[int], count: int) -> Sequence[int]:
    return widths[max(0, len(widths) - count) :]
