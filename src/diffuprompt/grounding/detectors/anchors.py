"""One square anchor per cell of each level, and which anchors stand for which box (ATSS).

Legend: B images, N boxes of an image, M of all images, A anchors of all levels, K candidates.
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


def assign(anchors: Anchors, boxes: Sequence[Tensor], *, plus: float = 0.0) -> Tensor:
    """Return for each anchor the index of its box ``(B, A)``, -1 for background (ATSS).

    ``boxes`` are ``(N, 4)`` of each image, and all images' are looked at together. Per box the
    nearest anchors of each level are candidates; those stay whose IoU reaches the mean plus the
    (unbiased) deviation over the candidates and whose centre is inside the box. An anchor of two
    boxes goes to the one it overlaps more, the first where it overlaps both equally.
    """
    counts, device = [len(one) for one in boxes], anchors.boxes.device
    most = max(counts)
    if not most:
        return torch.full((len(boxes), len(anchors.boxes)), -1, device=device)
    claims_MA = _claims(anchors, torch.cat([*boxes]), plus).T
    if sum(counts) < len(boxes) * most:  # some images have fewer boxes: nobody claims in their rows
        slots = [i * most + place for i, count in enumerate(counts) for place in range(count)]
        found_MA, shape = claims_MA, (len(boxes) * most, len(anchors.boxes))
        claims_MA = found_MA.new_full(shape, -1)
        claims_MA[torch.tensor(slots, device=device)] = found_MA
    best_BA, owner_BA = claims_MA.unflatten(0, (len(boxes), most)).max(1)
    return torch.where(best_BA >= 0, owner_BA, -1)


def _claims(anchors: Anchors, boxes_M4: Tensor, plus: float) -> Tensor:
    """Return the overlap ``(A, M)`` of anchors with boxes that claim them, -1 for the others."""
    every = anchors.boxes
    overlaps_AM = iou(every, boxes_M4, plus=plus)
    centres_A2 = (every[:, :2] + every[:, 2:]) / 2
    middles_M2 = (boxes_M4[:, :2] + boxes_M4[:, 2:]) / 2
    distances_AM = (centres_A2[:, None] - middles_M2[None]).norm(dim=-1)
    near, start = [], 0
    for count in anchors.counts:
        part = distances_AM[start : start + count]
        near.append(part.topk(min(CANDIDATES, count), 0, largest=False).indices + start)
        start += count
    candidates_KM = torch.cat(near)
    found_KM = overlaps_AM.gather(0, candidates_KM)
    threshold_M = found_KM.mean(0) + (found_KM.std(0) if len(found_KM) > 1 else 0)
    x, y = centres_A2[candidates_KM].unbind(-1)
    edges = (x - boxes_M4[:, 0], y - boxes_M4[:, 1], boxes_M4[:, 2] - x, boxes_M4[:, 3] - y)
    positive_KM = (found_KM >= threshold_M) & (torch.stack(edges).amin(0) > INSIDE)
    claims_AM = torch.full_like(overlaps_AM, -1.0)
    return claims_AM.scatter_(0, candidates_KM, torch.where(positive_KM, found_KM, -1.0))
