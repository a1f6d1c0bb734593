"""Training a method and looking at what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.grounding.toy_detector import SIDE, ToyExpressions, drawn, redrawn, toy_detector
from torch import Tensor

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.detectors.boxes import nms
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.methods.evaluate import detected
from diffuprompt.grounding.methods.registry import make_method
from diffuprompt.grounding.methods.training import (
    MethodFit,
    MethodTask,
    default_fit,
    fit_method,
    paper_fit,
)

SET = ToyExpressions(double=False)


@pytest.fixture(scope="module")
def detector() -> GlipDetector:
    return toy_detector(double=False)


def true_masks(rows: Sequence[int]) -> Tensor:
    masks = SET.batch(rows, SIDE).masks
    assert masks is not None
    return masks[:, None]


def task_of(detector: GlipDetector, seed: int = 0, kind: type[MethodTask] = MethodTask) -> Any:
    method = make_method("diff-prompt", detector)
    return kind(method, detector, SET, side=SIDE, batch=4, seed=seed, maps=true_masks)


def test_the_loss_falls_with_true_masks(detector: GlipDetector) -> None:
    task = task_of(detector)

    def loss() -> float:
        with torch.no_grad():
            return sum(float(task.loss(0, step)["loss"]) for step in range(3)) / 3

    before = loss()
    fit_method(task, MethodFit(steps=12, lr=1e-2, warmup_steps=2))
    assert loss() < 0.9 * before


def test_every_pass_reads_every_expression_once_in_another_order(detector: GlipDetector) -> None:
    task = task_of(detector)
    read = [row for step in range(6) for row in task.rows(step)]  # 24 rows: 4 passes over 6
    passes = [read[i : i + 6] for i in range(0, 24, 6)]
    assert all(sorted(rows) == list(range(6)) for rows in passes)
    assert len({tuple(rows) for rows in passes}) > 1
    assert task.rows(5) == task_of(detector).rows(5)
    assert task.rows(5) != task_of(detector, seed=1).rows(5)


class Broken(MethodTask):
    """Stops before its third step."""

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        if step == 2:
            raise KeyboardInterrupt
        return super().loss(epoch, step)


def test_an_interrupted_training_goes_on_to_the_same_bits(
    detector: GlipDetector, tmp_path: Path
) -> None:
    fit = MethodFit(steps=4, lr=1e-2)
    whole = task_of(detector)
    fit_method(whole, fit)
    with pytest.raises(KeyboardInterrupt):
        fit_method(task_of(detector, kind=Broken), fit, folder=tmp_path, save_every_s=0)
    resumed = task_of(detector)
    read: list[int] = []
    plain = resumed.loss
    resumed.loss = lambda epoch, step: (read.append(step), plain(epoch, step))[1]
    fit_method(resumed, fit, folder=tmp_path)
    assert read == [2, 3]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_recipes() -> None:
    assert default_fit("lora", steps=7) == MethodFit(lr=1e-3, steps=7)
    paper = paper_fit().optimiser()
    assert (paper.kind, paper.lr, paper.weight_decay, paper.clip_norm) == ("adamw", 1e-4, 0.05, 1)
    assert paper.lr_at(0, 0, 1, 50) == paper.lr_at(0, 49, 1, 50) == 1e-4
    with pytest.raises(ConfigError, match="lr: got 0"):
        MethodFit(lr=0)
    with pytest.raises(DataError, match="no expressions"):
        MethodTask(None, None, ToyExpressions(0), side=8, batch=2, seed=0)  # type: ignore[arg-type]


def test_answers_do_not_depend_on_the_batch(detector: GlipDetector) -> None:
    method = make_method("diff-prompt", detector)
    redrawn(method)
    rows = [4, 1, 3]
    found = detected(detector, method, SET.batch(rows, SIDE), true_masks(rows))
    assert len(found) == 3
    for row, one in zip(rows, found, strict=True):
        (other,) = detected(detector, method, SET.batch([row], SIDE), true_masks([row]))
        assert torch.allclose(one.boxes, other.boxes, atol=1e-3)


def test_no_box_is_lost_to_the_floor_of_scores(detector: GlipDetector) -> None:
    method = make_method("zero-shot", detector)
    strict = GlipDetector(
        detector.model, detector.tokenizer, name="strict", side=SIDE, min_score=0.05
    )
    batch = SET.batch(range(len(SET)), SIDE)
    every, floored = detected(detector, method, batch), detected(strict, method, batch)
    for one, other in zip(every, floored, strict=True):
        assert len(one.boxes) > len(other.boxes)
        assert all((one.boxes == box).all(-1).any() for box in other.boxes[:1])


def test_suppression_stops_when_enough_is_kept() -> None:
    corners = drawn(60, 2).abs() * 10
    boxes = torch.cat([corners, corners + 4 + drawn(60, 2, seed=2).abs() * 5], 1)
    scores = drawn(60, seed=3)
    every = nms(boxes, scores, 0.3)
    assert 10 < len(every) < 60
    assert torch.equal(nms(boxes, scores, 0.3, most=10), every[:10])
    assert torch.equal(nms(boxes, scores, 0.3, most=100), every)
