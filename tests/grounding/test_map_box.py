"""Boxes that are read from maps, and how well maps cover masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from diffuprompt.grounding.methods.map_box import LEVEL, boxes_of_map
from diffuprompt.grounding.metrics import mask_iou


def test_the_part_with_most_mass_comes_first() -> None:
    map_HW = torch.zeros(8, 8)
    map_HW[0, 0:2] = 1.0
    map_HW[3:6, 4:7] = 0.6  # larger, though fainter
    map_HW[7, 0] = 0.4  # below half of the largest value
    found = boxes_of_map(map_HW, side=16)
    assert found.boxes.tolist() == [[8, 6, 14, 12], [0, 0, 4, 2]]
    total = 2 + 9 * 0.6 + 0.4
    assert found.scores.tolist() == pytest.approx([5.4 / total, 2 / total])


def test_cells_that_touch_at_a_corner_are_one_part() -> None:
    assert boxes_of_map(torch.eye(3), side=3).boxes.tolist() == [[0, 0, 3, 3]]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_map_of_one_value(value: float) -> None:
    found = boxes_of_map(torch.full((4, 6), value), side=12)
    assert found.boxes.tolist() == ([[0, 0, 12, 12]] if value else [])
    assert len(found.scores) == len(found.boxes)


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_those_of_scipy(seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    map_HW = torch.rand(12, 17, generator=chance) ** (1 + 2 * seed)  # from dense to sparse
    inside = (map_HW >= LEVEL * map_HW.max()).numpy()
    labels, count = ndimage.label(inside, structure=np.ones((3, 3)))
    masses = ndimage.sum_labels(map_HW.numpy(), labels, range(1, count + 1))
    boxes = {
        (x.start * 17 / 17, y.start * 17 / 12, float(x.stop), y.stop * 17 / 12)
        for y, x in ndimage.find_objects(labels)
    }
    found = boxes_of_map(map_HW, side=17)
    assert len(found.boxes) == count
    got = sorted(tuple(box) for box in found.boxes.tolist())
    assert got == [pytest.approx(box) for box in sorted(boxes)]
    assert (found.scores * map_HW.sum()).tolist() == pytest.approx(sorted(masses)[::-1], rel=1e-5)


def test_mask_iou_compares_at_the_resolution_of_the_map() -> None:
    truth = torch.zeros(3, 8, 8)
    truth[:2, 0:4, 0:4] = 1
    maps = torch.zeros(3, 4, 4)
    maps[0, 0:2, 0:2] = 0.5  # half is inside
    maps[1, 0:2, 0:4] = 1
    maps[2, 0, 0] = 0.49
    assert mask_iou(maps, truth).tolist() == [1.0, 0.5, 0.0]
