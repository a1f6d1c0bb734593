"""Cached image features: never stale, never half, always those of the tower."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.world import make_clip, make_pictures

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.clip.model import Clip
from diffuprompt.data.decode import load_image
from diffuprompt.data.manifest import Item
from diffuprompt.engine.seeds import python_stream
from diffuprompt.errors import CheckpointError, ConfigError, DataError
from diffuprompt.runs.cache import Cache, cache_budget, cache_root
from diffuprompt.runs.contents import Contents
from diffuprompt.stages import features as module
from diffuprompt.stages.features import FeatureStore

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


def store(
    clip: Clip, root: Path, name: str = "files", budget: int | None = None, **options: int
) -> FeatureStore:
    """A store with its own memory of hashes, as a process of its own has."""
    values = {"seed": 1, "workers": 0, **options}
    cache = Cache(root.parent / name, budget=budget)
    contents = Contents(root.parent / "contents.sqlite")
    return FeatureStore(clip, root, cache=cache, contents=contents, **values)


def files(root: Path, name: str = "files") -> list[Path]:
    return sorted((root.parent / name / "features").glob("*"))


def computed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on whatever is not read from a file fails."""
    monkeypatch.setattr(FeatureStore, "_encode", None)


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
    computed_nothing(monkeypatch)
    cached = store(clip, pictures)
    assert torch.equal(cached.test(ITEMS), test)
    assert torch.equal(cached.train(ITEMS, 0), train)
    with pytest.raises(TypeError):
        cached.train(ITEMS, 1)  # the stand-in does fail where something is computed


def test_states_before_the_projection_are_kept_beside_the_features(
    clip: Clip, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store(clip, pictures)
    features = made.test(ITEMS)
    pooled = made.before_projection.test(ITEMS)
    assert pooled.shape == (len(ITEMS), clip.config.vision.width)
    assert torch.equal(clip.vision.projection(pooled), features)  # the same batch, the same bits
    view = made.before_projection.train(ITEMS, 0)
    assert len(files(pictures)) == 2
    computed_nothing(monkeypatch)
    assert torch.equal(made.train(ITEMS, 0), clip.vision.projection(view))
    again = store(clip, pictures).before_projection
    assert torch.equal(again.test(ITEMS), pooled)
    assert torch.equal(again.train(ITEMS, 0), view)


def test_files_of_earlier_versions_are_completed(
    clip: Clip, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They held the features alone, which stay as they are."""
    made = store(clip, pictures)
    features, key = made.test(ITEMS), made.key(ITEMS, None)
    made.cache.write("features", key, {"features": features})
    again = store(clip, pictures)
    assert torch.equal(again.test(ITEMS), features)
    assert torch.equal(clip.vision.projection(again.before_projection.test(ITEMS)), features)
    assert again.cache.read("features", key, "pooled") is not None
    assert not caplog.text


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


def test_rows_are_rows_of_all_whatever_is_cached(
    clip: Clip, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD", 2)  # the places below are in three files
    for view in (None, 0):
        whole = store(clip, pictures, "whole")._all(ITEMS, view)
        for positions in ([4, 0, 4], [1], [5, 3, 2, 0]):
            fresh = store(clip, pictures, f"{view}-{positions}")
            assert torch.equal(fresh.rows(ITEMS, positions, view), whole[positions])
            assert torch.equal(fresh.rows(ITEMS, positions, view), whole[positions])  # in memory
            again = store(clip, pictures, f"{view}-{positions}")
            assert torch.equal(again.rows(ITEMS, positions, view), whole[positions])  # in files


@pytest.mark.parametrize("keep", ["size", "time", "both"])
def test_a_changed_file_is_read_again(
    clip: Clip, pictures: Path, keep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts are its bytes; a copy that keeps size and times hides them from nobody."""
    # hashes of files that were written just now are remembered too, as those of old files are
    monkeypatch.setattr("diffuprompt.runs.contents.FRESH_S", -1e9)
    before = store(clip, pictures).test(ITEMS)
    path = pictures / ITEMS[2].path
    stat, data = path.stat(), path.read_bytes()
    Image.new("RGB", (40, 32), (0, 255, 0)).save(path)
    if keep != "time":  # what follows the end of a PNG is not read
        assert path.stat().st_size < stat.st_size
        path.write_bytes(path.read_bytes().ljust(stat.st_size, b"\0"))
    if keep != "size":
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = store(clip, pictures).test(ITEMS)
    same = torch.isclose(after, before).all(1)
    assert same.tolist() == [True, True, False, True, True, True]
    assert len(files(pictures)) == 2
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))  # the first bytes at another time
    assert torch.equal(store(clip, pictures).test(ITEMS), before)
    assert len(files(pictures)) == 2


def test_other_weights_and_other_pictures_have_their_own_files(
    clip: Clip, pictures: Path, tmp_path: Path
) -> None:
    made = store(clip, pictures).test(ITEMS)
    other = load_clip(make_clip(tmp_path / "other", seed=1))
    assert not torch.allclose(store(other, pictures).test(ITEMS), made)
    # Unpacked archives often agree in names, sizes and times
    twin = pictures.parent / "twin"
    for item in ITEMS:
        stat = (pictures / item.path).stat()
        path = twin / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store(clip, twin).key(ITEMS, None) != store(clip, pictures).key(ITEMS, None)


def test_two_data_sets_with_equal_paths_never_share_a_feature(clip: Clip, pictures: Path) -> None:
    twin = make_pictures(pictures.parent / "twin", ("red", "white"), seed=1)
    one, two = store(clip, pictures), store(clip, twin)
    for view in (None, 0):
        assert not torch.isclose(one._all(ITEMS, view), two._all(ITEMS, view)).all(1).any()
    assert torch.equal(two.test(ITEMS), store(clip, twin, "elsewhere").test(ITEMS))
    assert len(files(pictures)) == 4


def test_the_same_pictures_elsewhere_are_the_same_file(
    clip: Clip, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store(clip, pictures)
    test, train = one.test(ITEMS), one.train(ITEMS, 0)
    copy = shutil.copytree(pictures, pictures.parent / "copy", copy_function=shutil.copyfile)
    computed_nothing(monkeypatch)
    other = store(clip, copy)
    assert torch.equal(other.test(ITEMS), test)
    assert torch.equal(other.train(ITEMS, 0), train)


def test_fresh_views_of_many_epochs_stay_under_the_budget(clip: Clip, pictures: Path) -> None:
    """They were kept for ever: 1.6 GB for each seed of CoOp's recipe on ImageNet."""
    large = store(clip, pictures, "large")
    every = [large.train(ITEMS, view) for view in range(12)]
    size = files(pictures, "large")[0].stat().st_size
    budget = 3 * size
    small = store(clip, pictures, "small", budget=budget)
    for view, expected in enumerate(every):
        assert torch.equal(small.train(ITEMS, view), expected)
        assert sum(path.stat().st_size for path in files(pictures, "small")) <= budget
    assert torch.equal(small.train(ITEMS, 0), every[0])  # long gone, and computed again
    assert len(files(pictures, "large")) == 12
    kept = {path.name for path in files(pictures, "small")}
    assert f"{small.key(ITEMS, 11)}.safetensors" in kept  # what was used last is still there


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
    with pytest.raises(DataError, match=r"red/1\.png: image file not found; restore it"):
        made.test(ITEMS)  # which has hashed it before
    with pytest.raises(DataError, match=r"red/1\.png: cannot be read .* restore the file"):
        store(clip, pictures).test(ITEMS)
    assert not files(pictures)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("view", [None, 0])
def test_features_that_are_not_finite_are_refused_and_not_kept(
    clip: Clip, pictures: Path, bad: float, view: int | None
) -> None:
    items = ITEMS[:4]

    def spoil(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[2, 5] = bad
        return output

    handle = clip.vision.projection.register_forward_hook(spoil)
    try:
        asks = [
            lambda: store(clip, pictures)._all(items, view),
            lambda: store(clip, pictures).rows(items, [0], view),
        ]
        if view is None:
            asks.append(lambda: store(clip, pictures).warm(items))
        for ask in asks:
            with pytest.raises(CheckpointError, match="not finite") as caught:
                ask()
            assert str(pictures / items[2].path) in str(caught.value)
            assert repr(clip.name) in str(caught.value)
    finally:
        handle.remove()
    assert not files(pictures)


@pytest.mark.parametrize("damage", ["cut", "empty", "another", "altered"])
def test_a_damaged_cache_file_is_named_and_computed_again(
    clip: Clip, pictures: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where only some rows of it are asked for."""
    before = store(clip, pictures).test(ITEMS)
    (path,) = files(pictures)
    whole = path.read_bytes()
    if damage == "another":
        store(clip, pictures).test(ITEMS[:2])
        (short,) = set(files(pictures)) - {path}
        hurt = short.read_bytes()
    elif damage == "altered":
        hurt = bytes([*whole[:-1], whole[-1] ^ 1])
    else:
        hurt = b"" if damage == "empty" else whole[:-8]
    for rows in (False, True):
        path.write_bytes(hurt)
        caplog.clear()
        made = store(clip, pictures)
        found = made.rows(ITEMS, [5, 1], None) if rows else made.test(ITEMS)
        assert torch.equal(found, before[[5, 1]] if rows else before)
        assert path.read_bytes() == whole
        assert f"{path}: damaged" in caplog.text
        assert "computed again" in caplog.text


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("DIFFUPROMPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "diffuprompt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "diffuprompt"


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan", "inf"])
def test_a_budget_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE_GIB", "0.5")
    assert cache_budget() == 2**29
    monkeypatch.setenv("DIFFUPROMPT_CACHE_GIB", text)
    with pytest.raises(ConfigError, match=f"above 0, got '{text}'"):
        cache_budget()
