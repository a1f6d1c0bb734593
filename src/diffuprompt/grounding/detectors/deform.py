"""Modulated deformable convolution (arXiv 1811.11168) in plain torch.

Legend: B image, C channels, H rows, W columns, K kernel cells (row after row).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def deform_conv(
    x_BCHW: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    offsets: Tensor,
    mask: Tensor,
    *,
    stride: int = 1,
    padding: int = 1,
) -> Tensor:
    """Return the convolution of ``x`` read at shifted places.

    Args:
        x_BCHW: the map.
        weight: ``(out, C, k, k)``.
        bias: ``(out,)`` or None.
        offsets: ``(B, 2 K, h, w)``, down and right in turn for each kernel cell.
        mask: ``(B, K, h, w)``, what each cell's value is multiplied with.
        stride: of the kernel.
        padding: zeros around the map.

    Offsets and mask may be larger than the output, as in GLIP's dynamic head: then the numbers of
    each image are read in their flat order as if they had the output's size, which is what the
    kernel that GLIP was trained with does (microsoft/GLIP issues 52 and 62).
    """
    side = weight.shape[-1]
    rows = (x_BCHW.shape[2] + 2 * padding - side) // stride + 1
    columns = (x_BCHW.shape[3] + 2 * padding - side) // stride + 1
    cells = side * side
    offsets = _first(offsets, 2 * cells, rows, columns).unflatten(1, (cells, 2))
    mask = _first(mask, cells, rows, columns)
    step = torch.arange(side).to(x_BCHW)
    y = torch.arange(rows).to(x_BCHW)[:, None] * stride - padding
    x = torch.arange(columns).to(x_BCHW)[None] * stride - padding
    y_BKHW = offsets[:, :, 0] + y + step.repeat_interleave(side)[:, None, None]
    x_BKHW = offsets[:, :, 1] + x + step.repeat(side)[:, None, None]
    sampled = _bilinear(x_BCHW, y_BKHW, x_BKHW) * mask[:, None]
    columns_BFN = sampled.flatten(3).flatten(1, 2)
    out = weight.flatten(1) @ columns_BFN
    if bias is not None:
        out = out + bias[:, None]
    return out.unflatten(2, (rows, columns))


def _first(values: Tensor, channels: int, rows: int, columns: int) -> Tensor:
    wanted = channels * rows * columns
    return values.flatten(1)[:, :wanted].reshape(-1, channels, rows, columns)


def _bilinear(x_BCHW: Tensor, y_BKHW: Tensor, x_BKHW: Tensor) -> Tensor:
    """Return ``(B, C, K, h, w)``: values between cells, zero outside the map."""
    rows, columns = x_BCHW.shape[-2:]
    grid = torch.stack(
        [(2 * x_BKHW + 1) / columns - 1, (2 * y_BKHW + 1) / rows - 1], -1
    )  # as grid_sample counts: -1 and 1 are the outer edges of the first and last cells
    count = y_BKHW.shape[1]
    found = functional.grid_sample(
        x_BCHW, grid.flatten(1, 2), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return found.unflatten(2, (count, -1))
