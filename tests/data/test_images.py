"""Decoding and batches: in order, bounded, never skipping, failing with the file's name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from diffuprompt.data.decode import load_image
from diffuprompt.data.images import PREFETCH, ImageBatch, Loader, iterate
from diffuprompt.data.manifest import Item
from diffuprompt.errors import DataError


def view(image: Image.Image, item: Item) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Eleven pictures whose colour says their position."""
    for i in range(11):
        Image.new("RGB", (4, 3), (i, 2 * i, 255)).save(tmp_path / f"{i}.png")
    return [Item(f"{i}.png", i % 3) for i in range(11)]


def test_any_mode_becomes_rgb(tmp_path: Path) -> None:
    for mode in ("L", "P", "RGBA", "LA", "1", "CMYK", "I;16"):
        file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
        Image.new(mode, (5, 4)).save(file)
        assert (load_image(file).mode, load_image(file).size) == ("RGB", (5, 4))


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees"
    Image.new("RGB", (6, 3)).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").size == (6, 3)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


DAMAGE: list[tuple[str, str, Callable[[Path], object]]] = [
    ("a.jpg", "damaged image", truncate),
    ("a.png", "damaged image", truncate),
    ("a.webp", "damaged image|not an image", truncate),
    ("a.jpg", "empty", lambda file: file.write_bytes(b"")),
    ("a.jpg", "not an image of a known kind", lambda file: file.write_bytes(b"<html></html>")),
    ("a.jpg", "not found", lambda file: file.unlink()),
]


@pytest.mark.parametrize(("name", "message", "damage"), DAMAGE)
def test_bad_files_are_named(
    name: str, message: str, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    load_image(tmp_path / name)
    damage(tmp_path / name)
    with pytest.raises(DataError, match=message) as caught:
        load_image(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_image(tmp_path)


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 50])
def test_every_image_once_and_in_order(
    items: list[Item], tmp_path: Path, workers: int, batch_size: int
) -> None:
    batches = list(iterate(items, tmp_path, view, batch_size, workers))
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert torch.cat([b.index for b in batches]).tolist() == list(range(11))
    labels = torch.cat([b.labels for b in batches if b.labels is not None])
    assert labels.tolist() == [item.label for item in items]
    pixels = torch.cat([b.pixels for b in batches if b.pixels is not None])
    assert pixels.shape == (11, 3, 3, 4)
    assert pixels[:, 0, 0, 0].tolist() == list(range(11))


def test_another_order(items: list[Item], tmp_path: Path) -> None:
    order = [7, 0, 3, 3, 10]
    for workers in (0, 2):
        batches = list(iterate(items, tmp_path, view, 2, workers, order=order))
        assert torch.cat([b.index for b in batches]).tolist() == order
        pixels = torch.cat([b.pixels for b in batches if b.pixels is not None])
        assert pixels[:, 0, 0, 0].tolist() == order


def test_nothing_gives_no_batch(tmp_path: Path) -> None:
    assert list(iterate([], tmp_path, view, 4, 2)) == []


@pytest.mark.parametrize("workers", [0, 3])
def test_the_first_bad_image_stops_everything(
    items: list[Item], tmp_path: Path, workers: int
) -> None:
    (tmp_path / "9.png").unlink()
    truncate_png = tmp_path / "5.png"
    truncate_png.write_bytes(truncate_png.read_bytes()[:40])
    batches = iterate(items, tmp_path, view, 2, workers)
    assert [next(batches).index.tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(DataError, match=r"5\.png"):
        next(batches)
    assert list(batches) == []


def test_decoding_runs_ahead_by_a_bounded_number_of_batches(
    items: list[Item], tmp_path: Path
) -> None:
    seen: list[str] = []
    lock = threading.Lock()

    def spy(image: Image.Image, item: Item) -> Tensor:
        with lock:
            seen.append(item.path)
        return view(image, item)

    batches = iterate(items, tmp_path, spy, 1, 2)
    next(batches)
    time.sleep(0.1)  # time enough to decode all eleven, were nothing holding the threads back
    assert len(seen) <= 1 + PREFETCH * 2
    before = threading.active_count()
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before - 2


class Slow:
    """A view that takes its time and notes how many pictures are in work at once."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds, self.lock = seconds, threading.Lock()
        self.now = self.most = self.done = 0
        self.threads: set[str] = set()

    def __call__(self, image: Image.Image, item: Item) -> Tensor:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
            self.done += 1
        return view(image, item)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_all_workers_have_work_whatever_the_batch(
    items: list[Item], tmp_path: Path, batch_size: int
) -> None:
    slow = Slow()
    batches = list(iterate(items, tmp_path, slow, batch_size, 4))
    assert slow.most == 4
    assert torch.cat([b.index for b in batches]).tolist() == list(range(11))


def test_threads_live_as_long_as_the_loader(items: list[Item], tmp_path: Path) -> None:
    slow, before = Slow(0.001), threading.active_count()
    with Loader(3) as loader:
        for size in (1, 4):
            assert len(list(loader.iterate(items, tmp_path, slow, size))) == -(-11 // size)
            started = loader.iterate(items, tmp_path, slow, 1)
            next(started)
            started.close()  # type: ignore[attr-defined]
        assert threading.active_count() == before + 3
        assert len(slow.threads) == 3
        pixels = loader.submit(items, tmp_path, view, [2, 7]).result().pixels
        assert pixels is not None  # it still serves after iterations that were given up
        assert pixels[:, 0, 0, 0].tolist() == [2, 7]
    assert threading.active_count() == before


def test_what_was_given_up_is_not_decoded(items: list[Item], tmp_path: Path) -> None:
    slow = Slow()
    with Loader(1) as loader:
        batches = loader.iterate(items, tmp_path, slow, 4)
        next(batches)
        batches.close()  # type: ignore[attr-defined]
        loader.submit(items, tmp_path, view, [0]).result()  # behind all that was not given up
        assert slow.done <= 6


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_steps_pictures_decode_ahead(
    items: list[Item], tmp_path: Path, workers: int
) -> None:
    (tmp_path / "3.png").unlink()
    slow = Slow()
    with Loader(workers) as loader:
        first = loader.submit(items, tmp_path, slow, [4, 0])
        second = loader.submit(items, tmp_path, slow, [8, 3, 9])
        if workers:
            time.sleep(0.2)
            assert slow.done >= 4  # nobody has asked for them
        batch = first.result()
        assert batch.index.tolist() == [4, 0]
        assert batch.labels is not None
        assert batch.labels.tolist() == [1, 0]
        with pytest.raises(DataError, match=r"3\.png"):
            second.result()


@pytest.mark.parametrize("workers", [0, 3])
def test_the_first_error_in_order_is_raised(
    items: list[Item], tmp_path: Path, workers: int
) -> None:
    """Also where a later picture fails sooner."""

    def fails(image: Image.Image, item: Item) -> Tensor:
        if item.path == "6.png":
            raise DataError("the later one")
        if item.path == "2.png":
            time.sleep(0.1)
            raise DataError("the earlier one")
        return view(image, item)

    with pytest.raises(DataError, match="earlier"):
        list(iterate(items, tmp_path, fails, 1, workers))


def test_batch_moves_and_selects() -> None:
    batch = ImageBatch(torch.rand(4, 3, 2, 2), torch.arange(4), torch.arange(10, 14))
    assert len(batch) == 4
    chosen = batch.select(torch.tensor([3, 1]))
    assert chosen.index.tolist() == [13, 11]
    assert batch.pixels is not None
    assert chosen.pixels is not None
    assert torch.equal(chosen.pixels, batch.pixels[[3, 1]])
    assert chosen.features is None
    assert batch.select(slice(1, 3)).index.tolist() == [11, 12]
    moved = batch.to("meta")
    assert moved.pixels is not None
    assert (moved.pixels.device.type, moved.index.device.type) == ("meta", "meta")
    assert moved.features is None


def test_batch_tensors_must_agree() -> None:
    with pytest.raises(AssertionError, match="disagree"):
        ImageBatch(None, torch.arange(3), torch.arange(4))
