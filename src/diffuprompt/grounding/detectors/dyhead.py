"""The dynamic head (arXiv 2106.08322) as in GLIP: deformable convolutions between levels.

Parameters have GLIP's names.

Legend: B image, C channels, H rows, W columns; levels go from fine to coarse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.grounding.detectors.deform import deform_conv

Upsample = Literal["bilinear", "nearest"]
GROUPS = 16


class ModulatedConv(nn.Module):
    """A deformable 3 x 3 convolution, then group norm."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)
        self.bn = nn.GroupNorm(GROUPS, channels)

    def forward(self, x: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
        """Return ``(B, C, h, w)``."""
        conv = self.conv
        return self.bn(
            deform_conv(x, conv.weight, conv.bias, offsets, mask, stride=self.stride, padding=1)
        )


class DynamicRelu(nn.Module):
    """The larger of two lines whose slopes depend on the map's mean (arXiv 2003.10027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, 4 * channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        slopes = _hard_sigmoid(self.fc(x.mean((2, 3))))
        a1, b1, a2, b2 = slopes[..., None, None].chunk(4, 1)
        first = x * ((a1 - 0.5) * 2 + 1) + b1 - 0.5
        return torch.maximum(first, x * (a2 - 0.5) * 2 + b2 - 0.5)


class DynamicBlock(nn.Module):
    """Each level reads itself and its neighbours, weighted by how relevant each is.

    ``upsample`` "bilinear" (corners aligned) is GLIP's; "nearest" is what Diff-Prompt's release
    changed it to.
    """

    def __init__(self, channels: int, upsample: Upsample = "bilinear") -> None:
        super().__init__()
        self.upsample = upsample
        # coarser, own and finer level, as GLIP numbers them
        self.DyConv = nn.ModuleList(ModulatedConv(channels, stride) for stride in (1, 1, 2))
        self.AttnConv = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 1, 1), nn.ReLU())
        self.relu = DynamicRelu(channels)
        self.offset = nn.Conv2d(channels, 27, 3, padding=1)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return a map per level, of the same shapes."""
        found = []
        for i, x in enumerate(levels):
            shifts = self.offset(x)
            offsets, mask = shifts[:, :18], shifts[:, 18:].sigmoid()
            branches = [self.DyConv[1](x, offsets, mask)]
            if i > 0:
                branches.append(self.DyConv[2](levels[i - 1], offsets, mask))
            if i < len(levels) - 1:
                coarse = self.DyConv[0](levels[i + 1], offsets, mask)
                branches.append(self._resized(coarse, x))
            weights = [_hard_sigmoid(self.AttnConv(branch)) for branch in branches]
            mixed = torch.stack([b * w for b, w in zip(branches, weights, strict=True)]).mean(0)
            found.append(self.relu(mixed))
        return found

    def _resized(self, coarse: Tensor, like: Tensor) -> Tensor:
        size = like.shape[-2:]
        if self.upsample == "nearest":
            return functional.interpolate(coarse, size=size, mode="nearest")
        return functional.interpolate(coarse, size=size, mode="bilinear", align_corners=True)


def _hard_sigmoid(x: Tensor) -> Tensor:
    return functional.relu6(x + 3) / 6
