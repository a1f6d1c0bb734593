"""Text that does not depend on the image is encoded once per evaluation and class list.

That this changes no bit is `test_static_text_is_only_a_saving` in tests/contract.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.world import asked, opened
from torch import Tensor

from diffuprompt.clip.text import TextTower
from diffuprompt.jobs import evaluate
from diffuprompt.jobs.train import train_job
from diffuprompt.stages import score
from diffuprompt.stages.flat_prompts import learner_logits, own_prompts
from diffuprompt.stages.image_set import ImageSet


@pytest.fixture
def run(world: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train a learner on two shots of every colour."""

    def make(learner: str, *overrides: str) -> Path:
        return train_job(asked(world, runs_dir=tmp_path, learner=learner, overrides=overrides))

    return make


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Passes of the text tower, and batches of images, of three."""
    count = {"texts": 0, "batches": 0}
    encode, batch = TextTower.forward, ImageSet.batch

    def texts(self: TextTower, *args: Any, **rest: Any) -> Tensor:
        count["texts"] += 1
        return encode(self, *args, **rest)

    def batches(self: ImageSet, *args: Any, **rest: Any) -> Any:
        count["batches"] += 1
        return batch(self, *args, **rest)

    monkeypatch.setattr(TextTower, "forward", texts)
    monkeypatch.setattr(ImageSet, "batch", batches)
    monkeypatch.setattr(score, "BATCH", 3)
    return count


CASES = [
    ("zero-shot", (), 1),
    ("zero-shot", ('templates=["a {}.", "one {}.", "{}!"]',), 3),
    ("coop", ("epochs=1",), 1),
    ("promptsrc", ("epochs=1", "depth=2"), 1),
    ("vpt", ("epochs=1", "vision_depth=2"), 1),
    ("tip-adapter", (), 1),
]


@pytest.mark.parametrize(("learner", "overrides", "sentences"), CASES)
def test_text_is_encoded_once_a_class_list(
    learner: str,
    overrides: tuple[str, ...],
    sentences: int,
    run: Callable[..., Path],
    counted: dict[str, int],
) -> None:
    folder = run(learner, *overrides)
    counted |= {"texts": 0, "batches": 0}
    evaluate.evaluate_run(folder)
    assert counted["batches"] > 2  # else once would be no more than once per batch
    assert counted["texts"] == 2 * sentences  # base and new


def test_text_that_depends_on_the_image_is_encoded_for_every_batch(
    run: Callable[..., Path], counted: dict[str, int]
) -> None:
    folder = run("cocoop", "epochs=1")
    counted |= {"texts": 0, "batches": 0}
    evaluate.evaluate_run(folder)
    assert counted["texts"] == counted["batches"] > 2


@torch.no_grad()
def moved(learner: Any, seed: int) -> None:
    """Move every learnable, as a step of joint training does."""
    stream = torch.Generator().manual_seed(seed)
    for parameter in learner.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=stream))


def test_text_with_learnables_moves_with_them_in_joint_training(world: Path) -> None:
    """It was kept from the first step on: logits of VPT with a text adapter were off by 0.46."""
    overrides = ("vision_depth=2", "text_adapter=0.2")
    found = opened(world, learner="vpt", overrides=overrides)
    learner, images, index = found.learner(), found.train, torch.arange(4)
    logits = learner_logits(learner, images)
    flat = own_prompts(learner, images)[index]
    first = logits(flat, index).detach()
    for seed in range(3):
        moved(learner, seed)
        fresh = learner_logits(learner, images)(flat, index)
        assert torch.equal(logits(flat, index), fresh)
        some = torch.tensor([0, 2])
        assert torch.equal(logits(flat, index, some), learner_logits(learner, images)(
            flat, index, some
        ))  # fmt: skip
        with torch.no_grad():  # as its own prompts are overfitted between two steps
            assert torch.equal(logits(flat, index), fresh)
    assert float((fresh - first).abs().max()) > 0.1
    fresh.sum().backward()
    assert any(
        parameter.grad is not None and float(parameter.grad.abs().sum()) > 0
        for parameter in learner.parameters()
        if parameter.requires_grad
    )


def test_text_without_learnables_is_encoded_once_in_joint_training(
    world: Path, counted: dict[str, int]
) -> None:
    found = opened(world, learner="vpt", overrides=("vision_depth=2",))
    learner, images = found.learner(), found.train
    logits = learner_logits(learner, images)
    flat = own_prompts(learner, images)
    counted["texts"] = 0
    for seed in range(3):
        moved(learner, seed)
        index = torch.arange(seed, seed + 2)
        assert logits(flat[index], index).requires_grad is False
        logits(flat[index].requires_grad_(), index, torch.tensor([0, 2])).sum().backward()
    assert counted["texts"] == 1


def test_text_of_a_frozen_learner_is_encoded_once_whatever_it_has(
    world: Path, counted: dict[str, int]
) -> None:
    overrides = ("vision_depth=2", "text_adapter=0.2")
    found = opened(world, learner="vpt", overrides=overrides)
    learner, images = found.learner().requires_grad_(False), found.train
    logits, index = learner_logits(learner, images), torch.arange(2)
    flat = own_prompts(learner, images)[index]
    counted["texts"] = 0
    for _ in range(3):
        logits(flat, index)
    assert counted["texts"] == 1
