"""The data set `scenes`: names, halves, and pictures written once."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from PIL import Image

from diffuprompt.data.scenes import CLASSES, dataset, held_out, materialise
from diffuprompt.errors import StorageError


def test_classes_are_distinct_and_each_half_mixes_seen_and_held_out() -> None:
    assert len(set(CLASSES)) == len(CLASSES) == 40
    looks = [dataset.parse_look(name) for name in CLASSES]
    assert [look.name for look in looks] == list(CLASSES)
    for half in (looks[:20], looks[20:]):
        assert sum(held_out(*look) for look in half) == 10
    assert not {x.shape for x in looks[:20]} & {x.shape for x in looks[20:]}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "COUNTS", {"train": 2, "val": 1, "test": 1})


@pytest.mark.usefixtures("few")
def test_materialise_writes_once_and_repairs(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "scenes"
    data = materialise(root)
    data.check()
    assert data.classes == CLASSES
    assert {s: len(items) for s, items in data.splits.items()} == {
        "train": 80,
        "val": 40,
        "test": 40,
    }
    first = root / data.splits["train"][0].path
    before = (first.read_bytes(), first.stat().st_mtime_ns)
    assert materialise(root).hash == data.hash
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    first.unlink()
    materialise(root)
    assert first.read_bytes() == before[0]  # the same picture again
    assert [p.name for p in root.parent.iterdir()] == ["scenes"]  # nothing is left behind


@pytest.mark.usefixtures("few")
def test_splits_and_styles_never_repeat_a_picture(tmp_path: Path) -> None:
    clean, sketch = materialise(tmp_path / "a"), materialise(tmp_path / "b", "sketch")
    assert (clean.name, sketch.name) == ("scenes", "scenes-sketch")
    pictures = []
    for data in (clean, sketch):
        for items in data.splits.values():
            pictures += [Image.open(data.root / item.path).tobytes() for item in items]
    assert len(set(pictures)) == len(pictures)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert dataset.cache_folder("noisy") == tmp_path / "diffuprompt" / "scenes-v1-noisy"


@pytest.mark.usefixtures("few")
def test_a_cache_of_an_older_generator_is_replaced(tmp_path: Path) -> None:
    data = materialise(tmp_path / "scenes")
    first = data.root / data.splits["train"][0].path
    today = first.read_bytes()
    Image.new("RGB", (64, 64)).save(first)
    materialise(tmp_path / "scenes")
    assert first.read_bytes() == today


def test_scenes_on_a_full_disk_name_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(StorageError, match=r"scenes-x: cannot be written: No space.*make room"):
        materialise(tmp_path / "scenes-x")
    assert list(tmp_path.iterdir()) == []
