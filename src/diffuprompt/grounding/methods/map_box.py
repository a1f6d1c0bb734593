"""The control "map-box": boxes read from a map alone, without a detector.

Legend: H rows, W columns of the map, N boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.grounding.contract import Detections

LEVEL = 0.5  # of the map's largest value: cells from there on belong to an object


def boxes_of_map(map_HW: Tensor, side: int) -> Detections:
    """Return the boxes of the connected parts of a map, the one with most mass first.

    Args:
        map_HW: in 0..1.
        side: of the picture that it stands for.
    """
    labels = _parts(map_HW >= LEVEL * map_HW.max().clamp(min=1e-6))
    found = []
    for label in range(1, int(labels.max()) + 1):
        inside = labels == label
        y, x = inside.nonzero().T
        mass = float(map_HW[inside].sum())
        found.append((mass, [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]))
    found.sort(key=lambda one: -one[0])
    total = max(float(map_HW.sum()), 1e-6)
    scale = torch.tensor([side / map_HW.shape[1], side / map_HW.shape[0]] * 2)
    return Detections(
        boxes=torch.tensor([box for _, box in found], dtype=torch.float32).view(-1, 4) * scale,
        scores=torch.tensor([min(mass / total, 1.0) for mass, _ in found]),
    )


def _parts(inside_HW: Tensor) -> Tensor:
    """Return a number from 1 on for each part of cells that touch; 0 outside."""
    numbers = torch.arange(1, inside_HW.numel() + 1).view_as(inside_HW).float() * inside_HW
    while True:  # the largest number of a part spreads, one cell at a time
        spread = functional.max_pool2d(numbers[None, None], 3, 1, 1)[0, 0] * inside_HW
        if torch.equal(spread, numbers):
            found = spread.unique(return_inverse=True)[1]
            return found + (0 if bool((spread == 0).any()) else 1)
        numbers = spread
