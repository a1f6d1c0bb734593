"""Cached image features: never stale, never half, always those of the tower."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.world import make_clip, make_pictures

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.clip.model import Clip
from diffuprompt.data.images import load_image
from diffuprompt.data.manifest import Item
from diffuprompt.engine.seeds import python_stream
from diffuprompt.errors import CheckpointError, DataError
from diffuprompt.stages import features as module
from diffuprompt.stages.features import FeatureStore, cache_root

ITEMS = tuple(Item(f"{name}/{i}.png", 0) for name in ("red", "white") for i in range(3))
# One image alone and in a batch: matrix products of other shapes add in another order. Features
# are sums of some thousand float32 terms, a few hundred roundings of 6e-8 relative to size ~1.
OTHER_ORDER = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return load_clip(make_clip(tmp_path_factory.mktemp("clip") / "clip"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "colours", ("red", "white"))


def store(clip: Clip, root: Path, name: str = "cache", **options: int) -> FeatureStore:
    values = {"seed": 1, "workers": 0, **options}
    return FeatureStore(clip, root, cache=root.parent / name, **values)


def files(root: Path, name: str = "cache") -> list[Path]:
    return sorted((root.parent / name).glob("*"))


def test_features_are_the_towers_of_the_same_pixels(clip: Clip, pictures: Path) -> None:
    made = store(clip, pictures)
    images = [load_image(pictures / item.path) for item in ITEMS]
    pixels = torch.stack([clip.preprocess.test_view(image) for image in images])
    assert torch.equal(made.test(ITEMS), clip.vision(pixels))
    streams = [python_stream(1, "augmentation", item.path, 4) for item in ITEMS]
    pairs = zip(images, streams, strict=True)
    pixels = torch.stack([clip.preprocess.train_view(image, rng) for image, rng in pairs])
    assert torch.equal(made.train(ITEMS, 4), clip.vision(pixels))


def test_cached_equals_computed_again(
    clip: Clip, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store(clip, pictures)
    test, train = first.test(ITEMS), first.train(ITEMS, 0)
    again = store(clip, pictures, "elsewhere")
    assert torch.equal(again.test(ITEMS), test)
    assert torch.equal(again.train(ITEMS, 0), train)
    monkeypatch.setattr(FeatureStore, "_encode", None)  # reading must compute nothing
    cached = store(clip, pictures)
    assert torch.equal(cached.test(ITEMS), test)
    assert torch.equal(cached.train(ITEMS, 0), train)
    with pytest.raises(TypeError):
        cached.train(ITEMS, 1)  # the stand-in does fail where something is computed


def test_seeds_and_views_differ_and_the_test_view_does_not(clip: Clip, pictures: Path) -> None:
    one, two = store(clip, pictures), store(clip, pictures, seed=2)
    views = [one.train(ITEMS, 0), one.train(ITEMS, 1), two.train(ITEMS, 0), one.test(ITEMS)]
    for i, a in enumerate(views):
        for b in views[:i]:
            assert not torch.isclose(a, b).all(1).any()  # every image differs
    assert torch.equal(two.test(ITEMS), one.test(ITEMS))
    assert len(files(pictures)) == 4


def test_a_view_belongs_to_the_image_not_to_its_place(clip: Clip, pictures: Path) -> None:
    made = store(clip, pictures)
    order = [4, 0, 2]
    some = made.train(tuple(ITEMS[i] for i in order), 0)
    torch.testing.assert_close(some, made.train(ITEMS, 0)[order], **OTHER_ORDER)


@pytest.mark.parametrize("size", [1, 4, 64])
def test_batch_size_changes_roundings_only(clip: Clip, pictures: Path, size: int) -> None:
    whole = store(clip, pictures).test(ITEMS)
    other = store(clip, pictures, f"batches-of-{size}", batch_size=size).test(ITEMS)
    torch.testing.assert_close(other, whole, **OTHER_ORDER)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(clip: Clip, pictures: Path, workers: int) -> None:
    alone = store(clip, pictures, batch_size=2)
    threads = store(clip, pictures, f"{workers}-workers", batch_size=2, workers=workers)
    assert torch.equal(threads.train(ITEMS, 0), alone.train(ITEMS, 0))


def test_a_changed_file_is_read_again(clip: Clip, pictures: Path) -> None:
    made = store(clip, pictures)
    before = made.test(ITEMS)
    path = pictures / ITEMS[2].path
    stat = path.stat()
    Image.new("RGB", (40, 32), (0, 255, 0)).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # another size, the same time
    assert path.stat().st_size != stat.st_size
    after = made.test(ITEMS)
    same = torch.isclose(after, before).all(1)
    assert same.tolist() == [True, True, False, True, True, True]
    os.utime(path, ns=(0, 0))  # the same size, another time
    made.test(ITEMS)
    assert len(files(pictures)) == 3


def test_other_weights_and_other_roots_have_their_own_files(
    clip: Clip, pictures: Path, tmp_path: Path
) -> None:
    made = store(clip, pictures).test(ITEMS)
    other = load_clip(make_clip(tmp_path / "other", seed=1))
    assert not torch.allclose(store(other, pictures).test(ITEMS), made)
    # Unpacked archives often agree in names, sizes and times
    twin = tmp_path / "twin" / "colours"
    for item in ITEMS:
        stat = (pictures / item.path).stat()
        path = twin / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store(clip, twin).key(ITEMS, None) != store(clip, pictures).key(ITEMS, None)


def test_an_interruption_loses_one_shard_at_most(
    clip: Clip, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD", 2)
    whole = store(clip, pictures, "whole").test(ITEMS)
    made = store(clip, pictures)
    encode, calls = FeatureStore._encode, []

    def dies_in_the_third(self: FeatureStore, items: tuple[Item, ...], view: int | None):
        calls.append(items)
        if len(calls) == 3:
            raise KeyboardInterrupt
        yield from encode(self, items, view)

    monkeypatch.setattr(FeatureStore, "_encode", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        made.test(ITEMS)
    assert len(files(pictures)) == 2
    assert torch.equal(made.test(ITEMS), whole)
    assert calls == [ITEMS[:2], ITEMS[2:4], ITEMS[4:], ITEMS[4:]]  # only the third again


def test_missing_and_damaged_pictures_are_named(clip: Clip, pictures: Path) -> None:
    made = store(clip, pictures)
    missing, damaged = pictures / ITEMS[1].path, pictures / ITEMS[3].path
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(DataError, match=r"white/0\.png: damaged image"):
        made.test(ITEMS)
    missing.unlink()
    with pytest.raises(DataError, match=r"red/1\.png: cannot be read .* restore the file"):
        made.test(ITEMS)
    assert not files(pictures)


@pytest.mark.parametrize("damage", ["cut", "empty", "another"])
def test_a_damaged_cache_file_is_named(clip: Clip, pictures: Path, damage: str) -> None:
    made = store(clip, pictures)
    made.test(ITEMS)
    (path,) = files(pictures)
    if damage == "another":
        made.test(ITEMS[:2])
        (short,) = set(files(pictures)) - {path}
        path.write_bytes(short.read_bytes())
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-8])
    with pytest.raises(CheckpointError) as caught:
        made.test(ITEMS)
    assert str(path) in str(caught.value)
    assert "delete the file" in str(caught.value)


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("DIFFUPROMPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "diffuprompt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "diffuprompt"
