"""Where tokens stand on a grid of any size: fixed codes, or rotations of queries and keys.

Legend: N token of a grid (rows times columns), D width, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

PERIOD = 10000.0  # of the fixed codes, as in transformers
REACH = 100.0  # of rotations: the slowest turns once in about 600 cells


def wave_code(place_N: Tensor, width: int, period: float = PERIOD) -> Tensor:
    """Return ``[sin, cos]`` of positions or times, ``(N, width)``; ``width`` is even."""
    angle = place_N[:, None] * frequencies(width // 2, period, place_N.device)
    return torch.cat([angle.sin(), angle.cos()], 1)


def grid_code(rows: int, columns: int, width: int, device: torch.device) -> Tensor:
    """Return the DiT's fixed positions ``(N, width)``; the column fills the first half.

    As in facebook's DiT (arXiv 2212.09748), whose positions are MAE's.
    """
    row_N, column_N = cells(rows, columns, device)
    half = width // 2
    return torch.cat([wave_code(column_N, half), wave_code(row_N, half)], 1)


def cells(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return row and column ``(N,)`` of every token, row after row."""
    row = torch.arange(rows, device=device, dtype=torch.float32)
    column = torch.arange(columns, device=device, dtype=torch.float32)
    return row.repeat_interleave(columns), column.repeat(rows)


def frequencies(count: int, period: float, device: torch.device) -> Tensor:
    """Return ``count`` falling angles per step, from 1 towards ``1 / period``."""
    index = torch.arange(count, device=device, dtype=torch.float64)
    return (period ** (-index / count)).float()


def turns(rows: int, columns: int, head_width: int, device: torch.device) -> Tensor:
    """Return the angles ``(N, K / 2)`` of rotary positions in two dimensions.

    Half of the pairs turn with the row, half with the column (arXiv 2104.09864; in two dimensions
    arXiv 2403.13298), so that attention sees where cells stand to each other and not where the
    picture begins: what is learned on small pictures holds on large ones.
    """
    row_N, column_N = cells(rows, columns, device)
    speed = frequencies(head_width // 4, REACH, device)
    return torch.cat([row_N[:, None] * speed, column_N[:, None] * speed], 1)


def turned(x: Tensor, turns_NK: Tensor) -> Tensor:
    """Return ``x`` ``(..., N, K)`` with its pairs (i, i + K / 2) rotated by their angles."""
    first, second = x.chunk(2, -1)
    cos, sin = turns_NK.cos().to(x.dtype), turns_NK.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
