"""What GLIP's losses and scores are, against literal loops over anchors and tokens."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diffuprompt.grounding.detectors import anchors as A, boxes as B
from diffuprompt.grounding.detectors.glip import Raw
from diffuprompt.grounding.detectors.inference import detections
from diffuprompt.grounding.detectors.losses import glip_losses

SIDE, TOKENS = 32, 5


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def answer(batch: int, plus: float, seed: int) -> Raw:
    made = A.grid_anchors([(8, 8), (4, 4)], (4, 8), (10, 20), plus=plus)
    anchors = A.Anchors(boxes=made.boxes.double(), counts=made.counts)
    count = len(anchors.boxes)
    return Raw(
        words=drawn(batch, count, TOKENS, seed=seed),
        code=drawn(batch, count, 4, seed=seed + 1),
        centre=drawn(batch, count, seed=seed + 2),
        anchors=anchors,
        cells=drawn(batch, count, 2, seed=seed + 3),
        language=drawn(batch, TOKENS, 2, seed=seed + 4),
    )


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def plain_decode(code: list[float], anchor: list[float], plus: float) -> list[float]:
    width, height = anchor[2] - anchor[0] + plus, anchor[3] - anchor[1] + plus
    x = (anchor[0] + anchor[2]) / 2 + code[0] / 10 * width
    y = (anchor[1] + anchor[3]) / 2 + code[1] / 10 * height
    w = math.exp(min(code[2] / 5, math.log(1000 / 16))) * width
    h = math.exp(min(code[3] / 5, math.log(1000 / 16))) * height
    return [x - (w - plus) / 2, y - (h - plus) / 2, x + (w - plus) / 2, y + (h - plus) / 2]


def plain_giou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union - (hull - union) / hull


@pytest.mark.parametrize("plus", [0.0, 1.0])
def test_losses_are_those_of_a_loop(plus: float) -> None:
    raw = answer(2, plus, seed=10)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    boxes = [torch.tensor([[3.0, 2, 17, 19], [12, 9, 30, 30]]), torch.tensor([[1.0, 8, 14, 22]])]
    boxes = [one.double() for one in boxes]
    spans = [torch.tensor([[0.0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]), torch.tensor([[0.0, 1, 0, 0, 0]])]
    got = glip_losses(raw, mask, boxes, spans, plus=plus)

    filed = [one - torch.tensor([0, 0, plus, plus]) for one in boxes]  # as GLIP counts
    owners = A.assign(raw.anchors, filed, plus=plus).tolist()
    count = sum(owner >= 0 for row in owners for owner in row)
    assert count > 4
    words = box = centres = weight = 0.0
    for i, row in enumerate(owners):
        for a, owner in enumerate(row):
            for t in range(TOKENS):
                if not mask[i, t]:
                    continue
                p = sigmoid(raw.words[i, a, t].item())
                if owner >= 0 and spans[i][owner, t]:
                    words -= 0.25 * (1 - p) ** 2 * math.log(p)
                else:
                    words -= 0.75 * p**2 * math.log(1 - p)
            if owner < 0:
                continue
            anchor, truth = raw.anchors.boxes[a].tolist(), filed[i][owner].tolist()
            x, y = (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2
            across, down = (x - truth[0], truth[2] - x), (y - truth[1], truth[3] - y)
            central = math.sqrt(min(across) / max(across) * min(down) / max(down))
            found = plain_decode(raw.code[i, a].tolist(), anchor, plus)
            box += central * (1 - plain_giou(found, truth))
            weight += central
            p = sigmoid(raw.centre[i, a].item())
            centres -= central * math.log(p) + (1 - central) * math.log(1 - p)
    assert got["words"].item() == pytest.approx(words / count)
    assert got["boxes"].item() == pytest.approx(2 * box / weight)
    assert got["centre"].item() == pytest.approx(centres / count)
    assert got["loss"].item() == pytest.approx(words / count + 2 * box / weight + centres / count)


def test_nothing_to_find_is_no_loss_of_boxes() -> None:
    raw = answer(1, 0.0, seed=1)
    none, spans = [torch.zeros(0, 4, dtype=torch.float64)], [torch.zeros(0, TOKENS)]
    got = glip_losses(raw, torch.ones(1, TOKENS, dtype=torch.bool), none, spans, plus=0.0)
    assert got["boxes"] == got["centre"] == 0
    assert got["words"] > 0


@pytest.mark.parametrize("plus", [0.0, 1.0])
@pytest.mark.parametrize("most", [1000, 6])
def test_boxes_are_those_of_a_loop(plus: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffuprompt.grounding.detectors.inference.MAX_PER_LEVEL", most)
    raw = answer(2, plus, seed=20)
    got = detections(raw, 1, torch.tensor([1, 3]), (SIDE, SIDE - 4), plus=plus, min_score=0.5)
    ranked, start = [], 0
    for size in raw.anchors.counts:
        level = []
        for a in range(start, start + size):
            p = sum(sigmoid(raw.words[1, a, t].item()) for t in (1, 3)) / 2
            if p > 0.5:
                level.append((p * sigmoid(raw.centre[1, a].item()), a))
        ranked += sorted(level, reverse=True)[:most]
        start += size
    kept: list[list[float]] = []
    scores = []
    for score, a in sorted(ranked, reverse=True):
        box = plain_decode(raw.code[1, a].tolist(), raw.anchors.boxes[a].tolist(), plus)
        limits = (SIDE - 4 - plus, SIDE - plus)
        box = [min(max(v, 0), limits[i % 2]) for i, v in enumerate(box)]
        if all(plain_iou(box, other, plus) <= 0.6 for other in kept):
            kept.append(box)
            scores.append(math.sqrt(score))
    assert len(kept) > 4
    ends = torch.tensor([0.0, 0, plus, plus], dtype=torch.float64)
    assert torch.allclose(got.boxes, torch.tensor(kept[:100], dtype=torch.float64) + ends)
    assert got.scores.tolist() == pytest.approx(scores[:100])


def plain_iou(a: list[float], b: list[float], plus: float) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + plus)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + plus)
    area = [(box[2] - box[0] + plus) * (box[3] - box[1] + plus) for box in (a, b)]
    return width * height / (sum(area) - width * height)


def test_a_phrase_that_is_nowhere_probable_gets_its_best_box() -> None:
    raw = answer(1, 0.0, seed=30)
    raw = replace(raw, words=raw.words - 20)
    got = detections(raw, 0, torch.tensor([0]), (SIDE, SIDE), plus=0.0)
    best = int(raw.words[0, :, 0].argmax())
    box = B.decode(raw.code[0, best], raw.anchors.boxes[best])
    assert torch.allclose(got.boxes, B.clipped(box, SIDE, SIDE)[None])
