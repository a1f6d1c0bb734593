"""Text that does not depend on the image is encoded once an evaluation and a class list.

That this changes no bit is `test_static_text_is_only_a_saving` in tests/contract.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from diffuprompt.clip.text import TextTower
from diffuprompt.jobs import evaluate
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job
from diffuprompt.stages import scorer
from diffuprompt.stages.image_set import ImageSet


@pytest.fixture
def run(world: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train a learner on two shots of every colour."""

    def make(learner: str, *overrides: str) -> Path:
        places: dict[str, Any] = {"data": str(world / "colours"), "backbone": str(world / "clip")}
        places |= {"runs_dir": tmp_path, "device": "cpu", "workers": 0, "shots": 2}
        job = JobConfig(**places, learner=learner, overrides=overrides, protocol="base-to-new")
        return train_job(job)

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
    monkeypatch.setattr(scorer, "BATCH", 3)
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
    assert counted["batches"] > 2  # else once would be no more than once a batch
    assert counted["texts"] == 2 * sentences  # base and new


def test_text_that_depends_on_the_image_is_encoded_for_every_batch(
    run: Callable[..., Path], counted: dict[str, int]
) -> None:
    folder = run("cocoop", "epochs=1")
    counted |= {"texts": 0, "batches": 0}
    evaluate.evaluate_run(folder)
    assert counted["texts"] == counted["batches"] > 2
