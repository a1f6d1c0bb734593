"""Overlaps, suppression, box codes and assignment against literal loops."""

from __future__ import annotations

import math
import random
import statistics

import pytest
import torch
from torch import Tensor

from diffuprompt.grounding.detectors import anchors as A, boxes as B
from diffuprompt.grounding.metrics import first_hit


def some_boxes(count: int, seed: int, side: float = 40) -> Tensor:
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        x, y = rng.uniform(0, side - 6), rng.uniform(0, side - 6)
        rows.append((x, y, x + rng.uniform(2, side - x), y + rng.uniform(2, side - y)))
    return torch.tensor(rows, dtype=torch.float64)


def plain_iou(a: list[float], b: list[float], plus: float) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + plus)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + plus)
    area = [(box[2] - box[0] + plus) * (box[3] - box[1] + plus) for box in (a, b)]
    return width * height / (sum(area) - width * height)


@pytest.mark.parametrize("plus", [0.0, 1.0])
def test_overlaps_are_those_of_a_loop(plus: float) -> None:
    a, b = some_boxes(7, 0), some_boxes(5, 1)
    got = B.iou(a, b, plus=plus)
    for i, first in enumerate(a.tolist()):
        for j, second in enumerate(b.tolist()):
            assert got[i, j].item() == pytest.approx(plain_iou(first, second, plus))
    assert (B.giou(a, b, plus=plus) <= got + 1e-12).all()
    assert torch.allclose(B.iou_pairs(a[:5], b, plus=plus), got[:5].diagonal())
    assert torch.allclose(B.giou_pairs(a[:5], b, plus=plus), B.giou(a, b, plus=plus)[:5].diagonal())


def test_generalised_overlap_of_boxes_apart() -> None:
    a, b = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[3.0, 0, 4, 1]])
    assert B.giou(a, b).item() == pytest.approx(-0.5)  # hull 4, union 2


@pytest.mark.parametrize("seed", range(4))
def test_suppression_is_that_of_a_loop(seed: int) -> None:
    boxes = some_boxes(25, seed)
    scores = torch.tensor([random.Random(seed + 9).random() for _ in range(25)])
    left, kept = sorted(range(25), key=lambda i: -scores[i]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if plain_iou(*boxes[[best, i]].tolist(), 1.0) <= 0.3]
    assert B.nms(boxes, scores, 0.3, plus=1.0).tolist() == kept


def one_by_one(
    boxes: Tensor, scores: Tensor, threshold: float, plus: float, most: int | None
) -> Tensor:
    left, kept = scores.argsort(descending=True, stable=True), []
    while len(left) and len(kept) != most:
        best, left = left[:1], left[1:]
        kept.append(best)
        left = left[B.iou(boxes[best], boxes[left], plus=plus)[0] <= threshold]
    return torch.cat(kept)


@pytest.mark.parametrize("most", [1, 20, 100, None])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.6])
def test_suppression_in_blocks_is_that_of_one_at_a_time(threshold: float, most: int | None) -> None:
    """Bit for bit, with ties of scores, equal boxes and an overlap right at the threshold."""
    boxes = some_boxes(3 * B.NMS_BLOCK + 7, 5, side=60).float().round()
    boxes[1] = boxes[0] + boxes.new_tensor([0, 0, 5, 0])
    scores = torch.rand(len(boxes), generator=torch.Generator().manual_seed(1)).mul(50).round()
    scores[:2] = 99
    edge = B.iou(boxes[:1], boxes[1:2], plus=1.0).item()
    for at in (threshold, edge):
        wanted = one_by_one(boxes, scores, at, 1.0, most)
        assert torch.equal(B.nms(boxes, scores, at, plus=1.0, most=most), wanted)
    assert len(B.nms(boxes[:0], scores[:0], threshold)) == 0


@pytest.mark.parametrize("plus", [0.0, 1.0])
def test_codes_come_back(plus: float) -> None:
    boxes, anchors = some_boxes(9, 2), some_boxes(9, 3)
    assert torch.allclose(B.decode(B.encode(boxes, anchors, plus=plus), anchors, plus=plus), boxes)


def test_anchors_are_where_the_cells_are() -> None:
    made = A.grid_anchors([(2, 3), (1, 1)], (8, 16), (10, 20), plus=1.0)
    assert made.counts == (6, 1)
    assert made.boxes[1].tolist() == [3.5 + 8 - 4.5, 3.5 - 4.5, 3.5 + 8 + 4.5, 3.5 + 4.5]
    exclusive = A.grid_anchors([(2, 3)], (8,), (10,))
    assert exclusive.boxes[0].tolist() == [-1, -1, 9, 9]


@pytest.mark.parametrize("plus", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_assignment_is_that_of_a_loop(seed: int, plus: float) -> None:
    made = A.grid_anchors([(10, 10), (5, 5), (2, 2)], (4, 8, 20), (9, 18, 30), plus=plus)
    boxes = some_boxes(4, seed)
    made = A.Anchors(boxes=made.boxes.double(), counts=made.counts)
    wanted, alone = assigned_in_a_loop(made, boxes, plus), assigned_in_a_loop(made, boxes[:1], plus)
    none = [-1] * len(made.boxes)
    assert A.assign(made, [boxes, boxes[:0], boxes[:1]], plus=plus).tolist() == [
        wanted, none, alone
    ]  # fmt: skip
    assert A.assign(made, [boxes, boxes], plus=plus).tolist() == [wanted, wanted]
    assert A.assign(made, [boxes[:0]], plus=plus).tolist() == [none]


def assigned_in_a_loop(made: A.Anchors, boxes: Tensor, plus: float) -> list[int]:
    every = made.boxes
    centres = [((a[0] + a[2]) / 2, (a[1] + a[3]) / 2) for a in every.tolist()]
    best: dict[int, tuple[float, int]] = {}
    for n, box in enumerate(boxes.tolist()):
        middle, near, start = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), [], 0
        for count in made.counts:
            level = range(start, start + count)
            near += sorted(level, key=lambda i: math.dist(centres[i], middle))[: A.CANDIDATES]
            start += count
        overlaps = {i: plain_iou(every[i].tolist(), box, plus) for i in near}
        bound = statistics.mean(overlaps.values()) + statistics.stdev(overlaps.values())
        for i, overlap in overlaps.items():
            x, y = centres[i]
            inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > A.INSIDE
            if overlap >= bound and inside and overlap > best.get(i, (-1.0, 0))[0]:
                best[i] = (overlap, n)
    return [best[i][1] if i in best else -1 for i in range(len(every))]


def plain_giou(a: list[float], b: list[float]) -> float:
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - width * height
    return width * height / union - (hull - union) / hull


def test_the_first_good_box_is_that_of_a_loop() -> None:
    found = set()
    for seed in range(60):
        truth, *boxes = some_boxes(5, seed).tolist()
        size = truth[2] - truth[0]
        boxes += [[v + size * share for v in truth] for share in (0.6, 0.2, 0.1, 0.0)]
        random.Random(seed).shuffle(boxes)
        tensors = torch.tensor(boxes), torch.tensor(truth)
        wide = B.giou(tensors[0], tensors[1][None])[:, 0].tolist()
        assert wide == pytest.approx([plain_giou(box, truth) for box in boxes], abs=1e-5)
        for generalised in (False, True):
            overlaps = [
                plain_giou(b, truth) if generalised else plain_iou(b, truth, 0) for b in boxes
            ]
            wanted = next(i for i, overlap in enumerate(overlaps) if overlap >= 0.5)
            assert first_hit(*tensors, generalised=generalised) == wanted
            found.add(wanted)
    assert len(found) > 4


def test_the_first_good_box_counts() -> None:
    truth = torch.tensor([0.0, 0, 10, 10])
    boxes = torch.tensor([[20.0, 20, 30, 30], [0, 0, 10, 9], [0, 0, 10, 10]])
    assert first_hit(boxes, truth) == 1
    assert first_hit(boxes[:1], truth) == first_hit(boxes[:0], truth) == -1
    apart = torch.tensor([[0.0, 0, 7, 10]])
    assert first_hit(apart, truth) == first_hit(apart, truth, generalised=True) == 0
    tilted = torch.tensor([[2.0, 2, 12, 11]])  # IoU .508; the hull is larger: GIoU .463
    assert first_hit(tilted, truth) == 0
    assert first_hit(tilted, truth, generalised=True) == -1
