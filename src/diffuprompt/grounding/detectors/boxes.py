"""Boxes ``(x0, y0, x1, y1)``: overlap, suppression, and their code relative to anchors.

GLIP counts pixels inclusively, so that a box from 3 to 3 is one pixel wide: ``plus`` is 1 there and
0 for boxes with exclusive ends. Written in plain torch because torchvision is no dependency.

Legend: N, M boxes; last axis 4 coordinates.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CENTRE_WEIGHT, SIDE_WEIGHT = 10.0, 5.0  # of a box's code
NMS_BLOCK = 128  # boxes whose overlaps are computed at once
MAX_LOG = math.log(1000 / 16)  # how much larger than its anchor a box may be decoded


def areas(boxes_N4: Tensor, *, plus: float = 0.0) -> Tensor:
    """Return the area of each box, 0 for one that is turned inside out."""
    sides = (boxes_N4[..., 2:] - boxes_N4[..., :2] + plus).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou_pairs(a_N4: Tensor, b_N4: Tensor, *, plus: float = 0.0) -> Tensor:
    """Return the intersection over union ``(N,)`` of boxes of equal rank."""
    return _overlap(a_N4, b_N4, plus)[0]


def iou(a_N4: Tensor, b_M4: Tensor, *, plus: float = 0.0) -> Tensor:
    """Return the intersection over union of all pairs ``(N, M)``."""
    return _overlap(a_N4[:, None], b_M4[None], plus)[0]


def giou_pairs(a_N4: Tensor, b_N4: Tensor, *, plus: float = 0.0) -> Tensor:
    """Return the generalised IoU ``(N,)`` of boxes of equal rank (arXiv 1902.09630, eq. 1)."""
    return _generalised(a_N4, b_N4, plus)


def giou(a_N4: Tensor, b_M4: Tensor, *, plus: float = 0.0) -> Tensor:
    """Return the generalised IoU of all pairs ``(N, M)``; in -1..1 and never above `iou`."""
    return _generalised(a_N4[:, None], b_M4[None], plus)


def nms(
    boxes_N4: Tensor,
    scores_N: Tensor,
    threshold: float,
    *,
    plus: float = 0.0,
    most: int | None = None,
) -> Tensor:
    """Return the indices of the boxes that are kept, the best score first, ``most`` of them.

    A box goes when a better one that stays overlaps it by more than ``threshold``. Ties keep their
    order. The best boxes are settled a block at a time, with all overlaps of a block at once.
    """
    left = scores_N.argsort(descending=True, stable=True)
    kept = [left[:0]]
    wanted = len(left) if most is None else most
    while len(left) and wanted > 0:
        block, left = left[:NMS_BLOCK], left[NMS_BLOCK:]
        apart = iou(boxes_N4[block], boxes_N4[block], plus=plus) <= threshold
        stay = block[_apart(apart.cpu().numpy(), wanted)]
        kept.append(stay)
        wanted -= len(stay)
        if wanted > 0 and len(left):
            free = (iou(boxes_N4[stay], boxes_N4[left], plus=plus) <= threshold).all(0)
            left = left[free]
    return torch.cat(kept)


def _apart(apart_NN: NDArray[np.bool_], most: int) -> list[int]:
    """Return the first ``most`` rows that are apart from every earlier one of them."""
    is_free, found = np.ones(len(apart_NN), dtype=np.bool_), []
    for row, apart in enumerate(apart_NN):
        if is_free[row]:
            found.append(row)
            if len(found) == most:
                break
            is_free &= apart
    return found


def encode(boxes_N4: Tensor, anchors_N4: Tensor, *, plus: float = 0.0) -> Tensor:
    """Return boxes as weighted shifts and log scales of their anchors (Faster R-CNN)."""
    centre, side = _centre(boxes_N4, plus)
    origin, unit = _centre(anchors_N4, plus)
    shift, growth = (centre - origin) / unit, (side / unit).log()
    return torch.cat([shift * CENTRE_WEIGHT, growth * SIDE_WEIGHT], -1)


def decode(code_N4: Tensor, anchors_N4: Tensor, *, plus: float = 0.0) -> Tensor:
    """Inverse of `encode`; sides grow by a factor of 62.5 at most."""
    shift, growth = code_N4[..., :2] / CENTRE_WEIGHT, code_N4[..., 2:] / SIDE_WEIGHT
    origin, unit = _centre(anchors_N4, plus)
    centre = origin + shift * unit
    half = (growth.clamp(max=MAX_LOG).exp() * unit - plus) / 2
    return torch.cat([centre - half, centre + half], -1)


def clipped(boxes_N4: Tensor, height: float, width: float) -> Tensor:
    """Return boxes cut to a picture's edges ``0..width``, ``0..height``."""
    limits = boxes_N4.new_tensor((width, height, width, height))
    return boxes_N4.clamp(min=0).minimum(limits)


def counted(boxes_N4: Tensor, plus: float) -> Tensor:
    """Return boxes with exclusive ends as they are counted with ``plus``; -plus: back again."""
    return torch.cat([boxes_N4[..., :2], boxes_N4[..., 2:] - plus], -1)


def _centre(boxes: Tensor, plus: float) -> tuple[Tensor, Tensor]:
    side = boxes[..., 2:] - boxes[..., :2] + plus
    return boxes[..., :2] + (side - plus) / 2, side


def _overlap(a: Tensor, b: Tensor, plus: float) -> tuple[Tensor, Tensor]:
    """Return IoU and union; broadcasts."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    sides = (high - low + plus).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(a, plus=plus) + areas(b, plus=plus) - shared
    return shared / union.clamp(min=1e-9), union


def _generalised(a: Tensor, b: Tensor, plus: float) -> Tensor:
    overlap, union = _overlap(a, b, plus)
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    sides = (high - low + plus).clamp(min=0)
    hull = (sides[..., 0] * sides[..., 1]).clamp(min=1e-9)
    return overlap - (hull - union) / hull
