"""Grids: exact, computed once while the budget lasts, and the same bits whatever is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contract.towers import tiny

from diffuprompt.clip.features import FeatureStore
from diffuprompt.clip.grids import GridStore
from diffuprompt.clip.model import Clip
from diffuprompt.data.images import load_image
from diffuprompt.data.manifest import Item

COUNT = 5
GRID_BYTES = 10 * 3 * 3 * 4  # of the tiny tower with a stem, float32


@pytest.fixture
def items(tmp_path: Path) -> tuple[Item, ...]:
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tuple(Item(f"{i}.png", 0) for i in range(COUNT))


class Counting(GridStore):
    """Counts what passes the stem."""

    def __init__(self, store: FeatureStore, budget: int) -> None:
        super().__init__(store)
        self.budget, self.passed = budget, 0
        store.clip.vision.stem.register_forward_hook(self._count)

    def _count(self, module: Any, inputs: Any, output: Any) -> None:
        self.passed += len(inputs[0])


def grids(
    folder: Path, budget: int = 2**30, clip: Clip | None = None, workers: int = 0
) -> Counting:
    clip = clip or tiny("stem-vit", torch.float32)
    store = FeatureStore(clip, folder, seed=3, workers=workers, cache=folder / "cache")
    return Counting(store, budget)


@pytest.mark.parametrize("view", [None, 0, 4])
def test_a_grid_is_the_stem_of_that_view(items, tmp_path, view) -> None:
    store = grids(tmp_path)
    found = store.get(items, [3, 1], view)
    clip = store.store.clip
    for grid, position in zip(found, (3, 1), strict=True):
        image = load_image(tmp_path / items[position].path)
        pixels = store.store.look(view)(image, items[position])
        assert torch.equal(grid, clip.vision.stem(pixels[None])[0])
    features = clip.vision.from_grid(found)
    want = (store.store.test(items) if view is None else store.store.train(items, view))[[3, 1]]
    # the features of the same views, computed in another batch: float32 rounding
    torch.testing.assert_close(features, want, rtol=1e-5, atol=1e-5)


def test_a_plain_tower_keeps_pixels(items, tmp_path) -> None:
    store = grids(tmp_path, clip=tiny("plain-vit", torch.float32))
    image = load_image(tmp_path / items[2].path)
    assert torch.equal(store.get(items, [2], None)[0], store.store.look(None)(image, items[2]))


def test_every_image_and_view_passes_the_stem_once(items, tmp_path) -> None:
    store = grids(tmp_path)
    for positions in ([0, 1], [1, 2], [2, 0], [0, 0, 1]):
        store.get(items, positions, 0)
    assert store.passed == 3
    store.get(items, [0], 1)
    store.get(items, [0], None)
    assert store.passed == 5
    store.get(items, [4], 7, keep=False)
    store.get(items, [4], 7)
    assert store.passed == 7


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_the_budget_changes_the_work_and_not_the_bits(items, tmp_path, kept) -> None:
    whole, small = grids(tmp_path), grids(tmp_path, budget=kept * GRID_BYTES)
    for positions in ([0, 1, 2, 3, 4], [4, 2], [1, 3, 0]):
        assert torch.equal(small.get(items, positions, 1), whole.get(items, positions, 1))
    assert small.used == kept * GRID_BYTES
    assert whole.passed == 5
    assert small.passed > 5


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(items, tmp_path, workers) -> None:
    alone, many = grids(tmp_path), grids(tmp_path, workers=workers)
    order = [2, 0, 4, 3, 1]
    assert torch.equal(many.get(items, order, 2), alone.get(items, order, 2))


def test_grids_can_be_trained_on(items, tmp_path) -> None:
    store = grids(tmp_path)
    tower = store.store.clip.vision
    prompt = torch.zeros(1, 2, tower.config.width, requires_grad=True)
    tower.from_grid(store.get(items, [0, 1], None), {0: prompt}).sum().backward()
    assert prompt.grad is not None
    assert float(prompt.grad.abs().sum()) > 0
