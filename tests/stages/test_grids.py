"""Grids: computed once, kept in memory or on disk, and the same bits wherever they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contract.towers import tiny

from diffuprompt.data.decode import load_image
from diffuprompt.data.manifest import Item
from diffuprompt.errors import CheckpointError, DataError
from diffuprompt.learners.classes import Classes
from diffuprompt.runs.cache import Cache
from diffuprompt.runs.contents import Contents
from diffuprompt.stages import grids as module
from diffuprompt.stages.features import FeatureStore
from diffuprompt.stages.grids import GridStore
from diffuprompt.stages.image_set import ImageSet

COUNT = 5
GRID_BYTES = 10 * 3 * 3 * 4  # of the tiny tower with a stem, float32


@pytest.fixture
def items(tmp_path: Path) -> tuple[Item, ...]:
    return pictures(tmp_path, seed=0)


def pictures(folder: Path, seed: int) -> tuple[Item, ...]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(COUNT):
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return tuple(Item(f"{i}.png", 0) for i in range(COUNT))


class Counting(GridStore):
    """Counts what passes the stem; in a plain tower, whose stem does nothing, what is decoded."""

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store)
        self.passed = 0
        store.clip.vision.stem.register_forward_hook(self._count)

    def _count(self, module: Any, inputs: Any, output: Any) -> None:
        self.passed += len(inputs[0])

    def _computed(self, *args: Any) -> Any:
        for made in super()._computed(*args):
            self.passed += not self.on_disk
            yield made


def grids(
    folder: Path,
    budget: int = 2**30,
    kind: str = "stem-vit",
    workers: int = 0,
    name: str = "one",
    root: Path | None = None,
) -> Counting:
    """Grids of the pictures in ``root``, by default ``folder``, with files under ``name``."""
    cache, contents = Cache(folder / name), Contents(folder / "contents.sqlite")
    clip = tiny(kind, torch.float32)
    store = FeatureStore(
        clip, root or folder, seed=3, workers=workers, cache=cache, contents=contents
    )
    store.budget.total = budget
    return Counting(store)


def files(store: GridStore) -> list[Path]:
    return sorted((store.store.cache.root / "grids").glob("*"))


@pytest.mark.parametrize("view", [None, 0, 4])
def test_a_grid_is_the_stem_of_that_view(items, tmp_path, view) -> None:
    store = grids(tmp_path)
    found = store.get(items, [3, 1], view)
    clip = store.store.clip
    for grid, position in zip(found, (3, 1), strict=True):
        image = load_image(tmp_path / items[position].path)
        pixels = store.store.view_maker(view)(image, items[position])
        assert torch.equal(grid, clip.vision.stem(pixels[None])[0])
    features = clip.vision.from_grid(found)
    want = (store.store.test(items) if view is None else store.store.train(items, view))[[3, 1]]
    # the features of the same views, computed in another batch: float32 rounding
    torch.testing.assert_close(features, want, rtol=1e-5, atol=1e-5)


def test_a_plain_tower_keeps_pixels_and_writes_none(items, tmp_path) -> None:
    store = grids(tmp_path, kind="plain-vit")
    image = load_image(tmp_path / items[2].path)
    assert torch.equal(
        store.get(items, [2], None)[0], store.store.view_maker(None)(image, items[2])
    )
    store.fill(items, 0)
    assert store.passed == 1 + COUNT
    assert not files(store)
    short = grids(tmp_path, budget=store.store.budget.used // 6 * 2, kind="plain-vit")
    short.fill(items, 0)  # two fit, the others are decoded again when they are needed
    assert torch.equal(short.get(items, range(COUNT), 0), store.get(items, range(COUNT), 0))
    assert short.passed == COUNT + COUNT - 2
    assert store.passed == 1 + COUNT


@pytest.mark.parametrize("budget", [0, 2 * GRID_BYTES, 2**30])
def test_every_image_and_view_passes_the_stem_once(items, tmp_path, monkeypatch, budget) -> None:
    """Whatever fits in memory: what does not is read from disk."""
    monkeypatch.setattr(module, "SHARD", 2)
    store = grids(tmp_path, budget)
    for positions in ([0, 1], [1, 2], [2, 0], [0, 0, 1]):
        store.get(items, positions, 0)
    assert store.passed == 4  # two files of two
    store.get(items, [4], 1)
    store.get(items, [0], None)
    assert store.passed == 4 + 1 + 2
    assert len(files(store)) == 4
    again = grids(tmp_path, budget)  # another run
    again.get(items, [0, 2, 3], 0)
    assert again.passed == 0


def test_views_that_never_return_are_not_kept(items, tmp_path) -> None:
    store = grids(tmp_path)
    first = store.get(items, [4], 7, keep=False)
    assert torch.equal(store.get(items, [4], 7, keep=False), first)
    assert (store.passed, store.store.budget.used) == (2, 0)
    assert not files(store)


@pytest.mark.parametrize("kind", ["stem-vit", "plain-vit"])
@pytest.mark.parametrize("fit", [0, 1, 3, COUNT])
def test_the_budget_changes_the_work_and_not_the_bits(items, tmp_path, kind, fit) -> None:
    whole = grids(tmp_path, kind=kind, name="whole")
    size = whole.get(items, [0], 1).nbytes
    small = grids(tmp_path, fit * size, kind, name="small")
    for positions in ([0, 1, 2, 3, 4], [4, 2], [1, 3, 0]):
        assert torch.equal(small.get(items, positions, 1), whole.get(items, positions, 1))
    assert small.store.budget.used == fit * size
    assert whole.passed == COUNT
    # a plain tower's are decoded again where they do not fit
    assert (small.passed > COUNT) == (kind == "plain-vit" and fit < COUNT)


def test_filling_ahead_is_the_same_as_asking(items, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SHARD", 2)
    ahead, asked = grids(tmp_path, name="ahead"), grids(tmp_path, name="asked")
    ahead.fill(items, None)
    assert ahead.passed == COUNT
    assert ahead.store.budget.used == COUNT * GRID_BYTES
    assert torch.equal(ahead.get(items, [3, 1], None), asked.get(items, [3, 1], None))
    assert ahead.passed == COUNT


def test_one_budget_for_features_and_grids(items, tmp_path) -> None:
    features = COUNT * 96 * 4
    store = grids(tmp_path, budget=features + GRID_BYTES)
    images = ImageSet(items, Classes(("x",)), store.store, store)
    images.view(0)
    store.get(items, [0, 1, 2], 0)
    assert store.store.budget.used == features + GRID_BYTES
    images.view(1)  # does not fit: from disk, and here only while an epoch works on it
    assert store.store.budget.used == features + GRID_BYTES


@pytest.mark.parametrize("budget", [0, 2**20])
def test_features_of_views_are_exact_under_every_budget(items, tmp_path, budget) -> None:
    store = grids(tmp_path, budget).store
    images = ImageSet(items, Classes(("x",)), store)
    asked: list[int] = []
    encode = store._encode
    store._encode = lambda part, view: asked.append(view) or encode(part, view)  # type: ignore
    fresh = grids(tmp_path, name="fresh").store
    for view in (0, 1, 2, 0, 1, 2):
        assert torch.equal(images.view(view), fresh.train(items, view))
    assert asked == [0, 1, 2]  # once per view, kept or not
    first = images.view(0)
    for view in (1, 2):
        images.view(view)
    assert (images.view(0) is first) == (budget > 0)
    assert store.budget.used == (3 * first.nbytes if budget else 0)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(items, tmp_path, workers) -> None:
    alone, many = grids(tmp_path), grids(tmp_path, workers=workers, name="many")
    order = [2, 0, 4, 3, 1]
    assert torch.equal(many.get(items, order, 2), alone.get(items, order, 2))


@pytest.mark.parametrize("damage", ["cut", "empty", "another", "altered"])
def test_a_damaged_file_is_named_and_computed_again(
    items, tmp_path, damage, caplog: pytest.LogCaptureFixture
) -> None:
    store = grids(tmp_path, budget=0)
    before = store.get(items, [0, 3], None)
    (path,) = files(store)
    whole = path.read_bytes()
    if damage == "another":
        store.get(items[:2], [0], None)
        (short,) = set(files(store)) - {path}
        path.write_bytes(short.read_bytes())
    elif damage == "altered":
        path.write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
    else:
        path.write_bytes(b"" if damage == "empty" else whole[:-8])
    assert torch.equal(grids(tmp_path, budget=0).get(items, [0, 3], None), before)
    assert path.read_bytes() == whole
    assert f"{path}: damaged" in caplog.text


@pytest.mark.parametrize("kind", ["stem-vit", "plain-vit"])
def test_grids_that_are_not_finite_are_refused_and_not_kept(
    items, tmp_path, monkeypatch, kind
) -> None:
    """By the picture's and the backbone's name, whether the stem or the pixels are at fault."""
    store = grids(tmp_path, kind=kind)
    if kind == "plain-vit":
        make = store.store.view_maker
        monkeypatch.setattr(
            store.store,
            "view_maker",
            lambda v: lambda image, item: make(v)(image, item) * torch.nan,
        )
    else:
        stem = store.store.clip.vision.stem
        stem.register_forward_hook(lambda module, inputs, output: output / 0)
    for ask in (
        lambda: store.get(items, [3], None),
        lambda: store.get(items, [3], 0, keep=False),
        lambda: store.fill(items, None),
    ):
        with pytest.raises(CheckpointError, match=r"\d\.png: .*not finite"):
            ask()
    assert not files(store)


def test_two_roots_with_equal_paths_never_share_a_grid(items, tmp_path) -> None:
    """Neither in files nor in memory, whoever asks first."""
    twins = pictures(tmp_path / "twin", seed=1)
    assert twins == items
    for kind in ("stem-vit", "plain-vit"):
        one = grids(tmp_path, kind=kind, name=kind)
        two = grids(tmp_path, kind=kind, name=kind, root=tmp_path / "twin")
        alone = grids(tmp_path, kind=kind, name=f"{kind}-alone", root=tmp_path / "twin")
        first = one.get(items, range(COUNT), 0)
        for expected in (two.get(items, range(COUNT), 0), two.get(items, range(COUNT), 0)):
            assert torch.equal(expected, alone.get(items, range(COUNT), 0))
            assert not any(torch.equal(a, b) for a, b in zip(first, expected, strict=True))


def test_a_picture_that_was_replaced_has_another_grid(items, tmp_path) -> None:
    first = grids(tmp_path).get(items, range(COUNT), None)
    pictures(tmp_path, seed=1)
    second = grids(tmp_path).get(items, range(COUNT), None)
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_same_pictures_elsewhere_share_the_file(items, tmp_path) -> None:
    first = grids(tmp_path, budget=0).get(items, range(COUNT), 2)
    (tmp_path / "copy").mkdir()
    for item in items:
        shutil.copyfile(tmp_path / item.path, tmp_path / "copy" / item.path)
    other = grids(tmp_path, budget=0, root=tmp_path / "copy")
    assert torch.equal(other.get(items, range(COUNT), 2), first)
    assert other.passed == 0


def test_a_missing_picture_stops_before_anything_is_written(items, tmp_path) -> None:
    store = grids(tmp_path)
    (tmp_path / items[3].path).unlink()
    with pytest.raises(DataError, match=r"3\.png: cannot be read"):
        store.fill(items, None)
    assert not files(store)


def test_grids_can_be_trained_on(items, tmp_path) -> None:
    store = grids(tmp_path, budget=0)
    tower = store.store.clip.vision
    prompt = torch.zeros(1, 2, tower.config.width, requires_grad=True)
    tower.from_grid(store.get(items, [0, 1], None), {0: prompt}).sum().backward()
    assert prompt.grad is not None
    assert float(prompt.grad.abs().sum()) > 0
