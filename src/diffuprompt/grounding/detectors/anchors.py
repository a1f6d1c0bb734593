"""One square anchor per cell of each level, and which anchors stand for which box (ATSS).

Legend: N boxes, A anchors of all levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffuprompt.grounding.detectors.boxes import iou

CANDIDATES = 9  # nearest anchors of each level (arXiv 1912.02424, section 3.4)
INSIDE = 0.01  # pixels by which an anchor's centre must lie inside a box


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """The anchors of a picture.

    Attributes:
        boxes: ``(A, 4)``, level after level, row after row.
        counts: how many each level has.
    """

    boxes: Tensor
    counts: tuple[int, ...]


def grid_anchors(
    grids: Sequence[tuple[int, int]],
    strides: Sequence[int],
    sizes: Sequence[float],
    *,
    plus: float = 0.0,
    device: torch.device | str = "cpu",
) -> Anchors:
    """Return anchors of side ``sizes[l]`` centred on the cells of ``grids[l]`` (rows, columns).

    With ``plus`` 1 centres are at (stride - 1) / 2, as GLIP counts pixels.
    """
    levels = []
    for (rows, columns), stride, size in zip(grids, strides, sizes, strict=True):
        y = torch.arange(rows, device=device) * stride + (stride - plus) / 2
        x = torch.arange(columns, device=device) * stride + (stride - plus) / 2
        centres = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flip(-1).reshape(-1, 2)
        half = (size - plus) / 2
        levels.append(torch.cat([centres - half, centres + half], -1))
    return Anchors(boxes=torch.cat(levels), counts=tuple(map(len, levels)))


def assign(anchors: Anchors, boxes_N4: Tensor, *, plus: float = 0.0) -> Tensor:
    """Return for each anchor the index of its box ``(A,)``, -1 for background (ATSS).

    Per box the nearest anchors of each level are candidates; those stay whose IoU reaches the mean
    plus the (unbiased) deviation over the candidates and whose centre is inside the box. An anchor
    of two boxes goes to the one it overlaps more, the first where it overlaps both equally.
    """
    every = anchors.boxes
    if not len(boxes_N4):
        return torch.full((len(every),), -1, device=every.device)
    overlaps_AN = iou(every, boxes_N4, plus=plus)
    centres_A2 = (every[:, :2] + every[:, 2:]) / 2
    middles_N2 = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
    distances_AN = (centres_A2[:, None] - middles_N2[None]).norm(dim=-1)
    near, start = [], 0
    for count in anchors.counts:
        part = distances_AN[start : start + count]
        near.append(part.topk(min(CANDIDATES, count), 0, largest=False).indices + start)
        start += count
    candidates_KN = torch.cat(near)
    found_KN = overlaps_AN.gather(0, candidates_KN)
    threshold_N = found_KN.mean(0) + (found_KN.std(0) if len(found_KN) > 1 else 0)
    x, y = centres_A2[candidates_KN].unbind(-1)
    edges = (x - boxes_N4[:, 0], y - boxes_N4[:, 1], boxes_N4[:, 2] - x, boxes_N4[:, 3] - y)
    positive_KN = (found_KN >= threshold_N) & (torch.stack(edges).amin(0) > INSIDE)
    claims_AN = torch.full_like(overlaps_AN, -1.0)
    claims_AN.scatter_(0, candidates_KN, torch.where(positive_KN, found_KN, -1.0))
    best_A, owner_A = claims_AN.max(1)
    return torch.where(best_A >= 0, owner_A, -1)
