"""CLIP-Adapter (arXiv 2110.04544) on the pyramid: a bottleneck blended with the frozen maps.

The paper's bottleneck is over channels (eq. 4-6), which is the default; Diff-Prompt's release has
one over a map's flattened cells, shared by all channels, which ties it to one picture size.

Legend: B sample, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.errors import DataError
from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Sites
from diffuprompt.grounding.methods.layers import linear
from diffuprompt.grounding.methods.settings import Settings, Share
from diffuprompt.ranges import Range


@dataclass(frozen=True, kw_only=True)
class ClipAdapterConfig(Settings):
    """Settings of the bottleneck.

    Attributes:
        over: what it mixes: "channels" (paper) or "cells" of a level (release).
        ratio: weight of what is adapted; 1 - ratio is that of the frozen maps.
        reduction: how many times the bottleneck is narrower.
    """

    over: Literal["channels", "cells"] = "channels"
    ratio: Share = 0.2
    reduction: Annotated[int, Range(1, 1024)] = 4


class ClipAdapter(Method):
    """A bottleneck for each level; ``cells`` are the cells of each, for ``over="cells"``."""

    def __init__(
        self,
        sites: Sites,
        config: ClipAdapterConfig,
        init: torch.Generator,
        *,
        cells: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.config = config
        widths = sites.levels if config.over == "channels" else cells
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for width in widths:
            narrow = max(1, width // config.reduction)
            self.down.append(linear(width, narrow, init, bias=False))
            self.up.append(linear(narrow, width, init, bias=False))

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return a function of the pyramid."""
        return Adaptation(levels=self._blended)

    def _blended(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [self._level(i, level) for i, level in enumerate(levels)]

    def _level(self, index: int, level_BCHW: Tensor) -> Tensor:
        down, up = self.down[index], self.up[index]
        x = level_BCHW.flatten(2)
        x = x.transpose(1, 2) if self.config.over == "channels" else x
        if x.shape[-1] != down.in_features:
            raise DataError(
                f"clip-adapter over cells: level {index} has {x.shape[-1]}, expected "
                f"{down.in_features}; give pictures of the detector's own size"
            )
        x = functional.relu(up(functional.relu(down(x))))
        x = x.transpose(1, 2) if self.config.over == "channels" else x
        ratio, adapted = self.config.ratio, x.reshape(level_BCHW.shape).contiguous()
        return ratio * adapted + (1 - ratio) * level_BCHW
