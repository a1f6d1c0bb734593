"""From maps to what prompts are made of: the released, the paper's and the grid form's networks.

All of them take maps ``(N, C, H, W)``, of which each sample has one or several.

Legend: N sample (or sample x map), C channels, H rows, W columns, P prompts, D their width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.errors import DataError
from diffuprompt.grounding.methods.layers import conv, linear

Order = Literal["all", "clean_first", "noisy_first"]
PIXEL_CHANNELS = (8, 16, 32, 64, 128)
STEM_CHANNELS = (16, 32)
LATENT_CHANNELS = (32, 64)
LATENT_CELLS = 4  # rows and columns that latents of any size are pooled to


class PixelAdapter(nn.Module):
    """Diff-Prompt's released adapter: five convolutions of stride 2, flattened, one linear map.

    Maps are resized to ``side``, a multiple of 32, since the linear map reads every cell.
    """

    def __init__(
        self, channels: int, side: int, length: int, width: int, init: torch.Generator
    ) -> None:
        super().__init__()
        self.side, self.shape = side, (length, width)
        self.convolutions = nn.ModuleList(
            conv(a, b, 3, init, stride=2, padding=1)
            for a, b in pairwise((channels, *PIXEL_CHANNELS))
        )
        cells = (side // 2 ** len(PIXEL_CHANNELS)) ** 2
        self.out = linear(PIXEL_CHANNELS[-1] * cells, length * width, init)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        """Return ``(N, P, D)``."""
        x = _resized(maps_NCHW, self.side)
        for convolution in self.convolutions:
            x = functional.silu(convolution(x))
        return self.out(x.flatten(1)).unflatten(1, self.shape)


class LatentAdapter(nn.Module):
    """The paper's adapter: latents through convolutions to prompts, without decoding.

    The paper gives no sizes: here two convolutions, pooled to 4 x 4 cells so that latents of any
    size fit, and one linear map.
    """

    def __init__(self, channels: int, length: int, width: int, init: torch.Generator) -> None:
        super().__init__()
        self.shape = (length, width)
        first, second = LATENT_CHANNELS
        self.first = conv(channels, first, 3, init, padding=1)
        self.second = conv(first, second, 3, init, stride=2, padding=1)
        self.out = linear(second * LATENT_CELLS**2, length * width, init)

    def forward(self, latents_NCHW: Tensor) -> Tensor:
        """Return ``(N, P, D)``."""
        x = functional.silu(self.first(latents_NCHW))
        x = functional.silu(self.second(x))
        x = functional.adaptive_avg_pool2d(x, LATENT_CELLS)
        return self.out(x.flatten(1)).unflatten(1, self.shape)


class MaskStem(nn.Module):
    """Masks at a quarter of their size: learned features beside the masks themselves."""

    def __init__(self, channels: int, init: torch.Generator) -> None:
        super().__init__()
        first, second = STEM_CHANNELS
        self.patch = conv(channels, first, 4, init, stride=4)
        self.mix = conv(first, second, 3, init, padding=1)
        self.width = second + channels

    def forward(self, masks_NCHW: Tensor) -> Tensor:
        """Return ``(N, width, H / 4, W / 4)``."""
        x = functional.silu(self.patch(masks_NCHW))
        x = functional.silu(self.mix(x))
        return torch.cat(
            [x, functional.adaptive_avg_pool2d(masks_NCHW, (x.shape[2], x.shape[3]))], 1
        )


class PooledAdapter(nn.Module):
    """The grid form's prompts for a tower that has no grid: the stem's mean, one linear map."""

    def __init__(self, channels: int, length: int, width: int, init: torch.Generator) -> None:
        super().__init__()
        self.shape = (length, width)
        self.stem = MaskStem(channels, init)
        self.out = linear(self.stem.width, length * width, init)

    def forward(self, masks_NCHW: Tensor) -> Tensor:
        """Return ``(N, P, D)``."""
        return self.out(self.stem(masks_NCHW).mean((2, 3))).unflatten(1, self.shape)


class GridAdapter(nn.Module):
    """One prompt per token of each block's map: the stem pooled to the map, a linear map a block.

    Prompts stay aligned with space, which the released forms flatten away.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], order: Order, init: torch.Generator
    ) -> None:
        super().__init__()
        self.order: Order = order
        self.stem = MaskStem(channels, init)
        self.out = nn.ModuleList(linear(self.stem.width, width, init) for width in widths)

    def forward(self, masks_BKCHW: Tensor, grids: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Return ``(B, rows, columns, D)`` for each block, ``grids`` its rows and columns."""
        features = by_layer(self.stem, masks_BKCHW, len(self.out), self.order)
        return [
            out(functional.adaptive_avg_pool2d(x, grid).permute(0, 2, 3, 1))
            for out, x, grid in zip(self.out, features, grids, strict=True)
        ]


class TokenAdapter(nn.Module):
    """Prompts for each of a tower's first layers, all by the same adapter."""

    def __init__(self, adapter: nn.Module, depth: int, order: Order) -> None:
        super().__init__()
        self.adapter, self.depth = adapter, depth
        self.order: Order = order

    def forward(self, maps_BKCHW: Tensor) -> list[Tensor]:
        """Return ``(B, P, D)`` for each layer."""
        return by_layer(self.adapter, maps_BKCHW, self.depth, self.order)


def by_layer(
    network: Callable[[Tensor], Tensor], maps_BKCHW: Tensor, depth: int, order: Order
) -> list[Tensor]:
    """Return what ``network`` makes of a trajectory for each of ``depth`` layers.

    With "all" it reads every map at once and says the same to all layers. Otherwise it reads one
    map after another; layer i takes the i-th ("clean_first") or the (depth - 1 - i)-th
    ("noisy_first"), and where a trajectory is shorter its last map serves the rest.
    """
    if order == "all":
        return [network(maps_BKCHW.flatten(1, 2))] * depth
    batch, num_maps = maps_BKCHW.shape[:2]
    needed = min(num_maps, depth)
    found = network(maps_BKCHW[:, :needed].flatten(0, 1)).unflatten(0, (batch, needed))
    layers = range(depth) if order == "clean_first" else reversed(range(depth))
    return [found[:, min(layer, needed - 1)] for layer in layers]


def trajectory(maps: Tensor | None, *, latents: bool, kept: int | None) -> Tensor:
    """Return a method's maps as ``(B, K, C, H, W)``.

    Args:
        maps: masks ``(B, K, H, W)`` or latents ``(B, K, C, H, W)``.
        latents: which of them are expected.
        kept: K where the method reads all maps at once.

    Raises:
        DataError: there are none, or of another kind or number.
    """
    kind = "latents (B, K, C, h, w)" if latents else "masks (B, K, h, w)"
    got = "none" if maps is None else f"shape {tuple(maps.shape)}"
    if maps is None or maps.ndim != (5 if latents else 4) or not maps.shape[1]:
        raise DataError(f"maps: expected {kind}, got {got}; give those of the trajectory")
    if kept is not None and maps.shape[1] != kept:
        raise DataError(
            f"maps: expected {kept} a trajectory, got {got}; set `maps` of the method to their "
            "number, or `order` to one that reads a map for each layer"
        )
    return maps if latents else maps[:, :, None]


def _resized(maps_NCHW: Tensor, side: int) -> Tensor:
    if maps_NCHW.shape[-2:] == (side, side):
        return maps_NCHW
    return functional.interpolate(
        maps_NCHW, (side, side), mode="bilinear", align_corners=False, antialias=True
    )
