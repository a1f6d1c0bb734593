"""Verification reports everything at once: structure, damage, leaks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.data.problems import verify


def make(root: Path) -> Manifest:
    rng = np.random.default_rng(0)
    splits = {}
    for split in ("train", "test"):
        splits[split] = tuple(Item(f"{split}/{c}{i}.png", c) for c in range(2) for i in range(3))
        (root / split).mkdir()
        for item in splits[split]:
            noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / item.path)
    return Manifest("toy", root, ("cat", "dog"), splits)


class Counter:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.total = self.done = 0

    @contextmanager
    def task(self, label: str, *, total: int) -> Iterator[Counter]:
        self.total = total
        yield self

    def advance(self, n: int = 1, **stats: float) -> None:
        self.done += n


def test_sound_data_has_no_problem(tmp_path: Path) -> None:
    progress = Counter()
    assert verify(make(tmp_path), progress) == []
    assert (progress.done, progress.total) == (12, 12)


def test_everything_is_reported(tmp_path: Path) -> None:
    manifest = make(tmp_path)
    (tmp_path / "train/00.png").unlink()
    (tmp_path / "train/11.png").write_bytes(b"")
    file = tmp_path / "test/02.png"
    file.write_bytes(file.read_bytes()[:60])
    shutil.copy(tmp_path / "train/01.png", tmp_path / "test/01.png")
    shutil.copy(tmp_path / "train/02.png", tmp_path / "train/10.png")
    problems = {p.path.removeprefix(f"{tmp_path}/"): p for p in verify(manifest)}
    assert set(problems) == {f"train/{n}.png" for n in ("00", "11", "10")} | {
        "test/02.png",
        "test/01.png",
    }
    assert "file not found" in problems["train/00.png"].what
    assert "empty" in problems["train/11.png"].what
    assert "damaged" in problems["test/02.png"].what
    leak = problems["test/01.png"]
    assert leak.severity == "warning"
    assert leak.what == "same bytes as train/01.png (train)"
    assert "different labels ['cat', 'dog']" in problems["train/10.png"].what
    assert all(problem.fix for problem in problems.values())
    assert [p.severity for p in verify(manifest)].count("error") == 3


def test_copies_within_one_class_and_split_are_harmless(tmp_path: Path) -> None:
    manifest = make(tmp_path)
    shutil.copy(tmp_path / "train/00.png", tmp_path / "train/01.png")
    assert verify(manifest) == []
