"""Shifted pictures: closed forms, severities in order, folders that are data sets to test on."""

from __future__ import annotations

import json
import logging
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffuprompt.cli.main import main
from diffuprompt.data import SHIFTS, open_dataset, write_shifted
from diffuprompt.data.scenes import CLASSES
from diffuprompt.data.scenes.dataset import parse_look, picture
from diffuprompt.data.shift import SEVERITIES, shifted, writing
from diffuprompt.errors import ConfigError, DataError

NAMES = ("zebra/foal", "Åland lamb", "ant")  # not sorted, and no plain folder names


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return picture(parse_look(CLASSES[0]), "test", 3, "clean")


@pytest.mark.parametrize("kind", SHIFTS)
def test_severities_grow(kind: str, image: Image.Image) -> None:
    """Each severity lies further from the original than the one before."""
    original = np.asarray(image, np.float64)
    shift = [np.asarray(shifted(image, kind, s, [1]), np.float64) for s in SEVERITIES]
    far = [np.abs(one - original).mean() for one in shift]
    assert far[0] > 0.5
    assert all(a < b for a, b in pairwise(far)), far


def test_grey_ends_in_luma(image: Image.Image) -> None:
    """Severity 5 is pillow's own luma, whose fixed-point weights may round one level apart."""
    pixels = np.asarray(shifted(image, "grey", 5, [1]), int)
    assert (pixels == pixels[..., :1]).all()
    assert np.abs(pixels[..., 0] - np.asarray(image.convert("L"), int)).max() <= 1


def test_edges_end_in_lines() -> None:
    """A step of 40 levels between two columns has gradients of 20 on both, drawn with 40 of ink."""
    step = np.zeros((6, 6, 3), np.uint8)
    step[:, 3:] = 40
    drawn = np.asarray(shifted(Image.fromarray(step), "edges", 5, [1]))
    assert (drawn == np.array([255, 255, 215, 215, 255, 255])[None, :, None]).all()


def test_contrast_is_about_the_mean(image: Image.Image) -> None:
    """The mean of each channel stays and its spread shrinks to 0.05, half a level of rounding."""
    before, after = (np.asarray(i, float) for i in (image, shifted(image, "contrast", 5, [1])))
    assert np.abs(before.mean((0, 1)) - after.mean((0, 1))).max() < 0.5
    middle = before.mean((0, 1))
    assert np.abs(after - (middle + 0.05 * (before - middle))).max() <= 0.51


def test_palette_has_few_colours(image: Image.Image) -> None:
    for severity, most in zip(SEVERITIES, (64, 32, 16, 8, 4), strict=True):
        pixels = np.asarray(shifted(image, "palette", severity, [1])).reshape(-1, 3)
        assert 2 <= len(np.unique(pixels, axis=0)) <= most


def test_noise_has_the_level_that_it_says() -> None:
    """On mid grey nothing is clipped at severity 1: 20.4 levels, within 3 % for 30,000 draws."""
    flat = Image.new("RGB", (100, 100), (128, 128, 128))
    drawn = np.asarray(shifted(flat, "noise", 1, [1]), float) - 128
    assert drawn.std() == pytest.approx(0.08 * 255, rel=0.03)
    assert abs(drawn.mean()) < 0.5


def test_blur_scales_with_the_picture() -> None:
    """A picture twice as large is blurred twice as far: severity 5 looks alike at both sizes."""
    ramp = np.zeros((224, 224, 3), np.uint8)
    ramp[:, 112:] = 255
    large = Image.fromarray(ramp)
    small = large.resize((112, 112), Image.Resampling.BOX)
    a = np.asarray(shifted(large, "blur", 5, [1]).resize((112, 112), Image.Resampling.BOX), float)
    assert np.abs(a - np.asarray(shifted(small, "blur", 5, [1]), float)).max() < 6


@pytest.fixture
def source(tmp_path: Path, image: Image.Image) -> Path:
    """A split file, so that the order of classes is its own."""
    rows = []
    for label, name in enumerate(NAMES):
        for k in range(2):
            path = f"{label}/{k}.png"
            (tmp_path / "source" / str(label)).mkdir(parents=True, exist_ok=True)
            image.rotate(90 * (2 * label + k)).save(tmp_path / "source" / path)
            rows.append([path, label, name])
    file = tmp_path / "source" / "split_zhou_Own.json"
    file.write_text(json.dumps({"train": [], "val": [], "test": rows}))
    return file


def test_copies_are_a_data_set_with_the_same_classes(source: Path, tmp_path: Path) -> None:
    original = open_dataset(source, check=False)
    folder = write_shifted(original, tmp_path / "out", kind="grey", severity=5)
    copies = open_dataset(folder, check=False).check(needs=("test",))
    assert (copies.name, copies.classes) == ("grey-5", original.classes)
    assert [i.label for i in copies.splits["test"]] == [0, 0, 1, 1, 2, 2]
    for mine, theirs in zip(copies.splits["test"], original.splits["test"], strict=True):
        with Image.open(original.root / theirs.path) as image:
            expected = shifted(image, "grey", 5, [1])
        with Image.open(folder / mine.path) as image:
            assert image.tobytes() == expected.tobytes()


def test_a_copy_follows_from_its_path_and_not_from_its_place(source: Path, tmp_path: Path) -> None:
    """With one class less, and after an interruption, the bytes of the others are the same."""
    original = open_dataset(source, check=False)
    whole = write_shifted(original, tmp_path / "a", kind="noise", severity=2)
    fewer = write_shifted(original.select([2, 1]), tmp_path / "b", kind="noise", severity=2)
    bytes_of = {p.relative_to(whole): p.read_bytes() for p in sorted(whole.rglob("*.png"))}
    assert len(set(bytes_of.values())) == 6
    assert {p.read_bytes() for p in fewer.rglob("*.png")} < set(bytes_of.values())
    other = write_shifted(original, tmp_path / "c", kind="noise", severity=2, seed=2)
    assert not {p.read_bytes() for p in other.rglob("*.png")} & set(bytes_of.values())

    part = whole.with_name(".noise-2.part")
    whole.rename(part)
    next(part.rglob("*.png")).unlink()
    kept = {p: p.stat().st_mtime_ns for p in part.rglob("*.png")}
    assert write_shifted(original, tmp_path / "a", kind="noise", severity=2) == whole
    assert {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*.png")} == bytes_of
    again = {p: p.stat().st_mtime_ns for p in whole.rglob("*.png")}
    assert {again[whole / p.relative_to(part)] for p in kept} == set(kept.values())
    write_shifted(original, tmp_path / "a", kind="noise", severity=2)
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*.png")} == again
    next(whole.rglob("*.png")).write_bytes(b"")  # as a power cut may leave it
    write_shifted(original, tmp_path / "a", kind="noise", severity=2)
    assert {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*.png")} == bytes_of

    with pytest.raises(DataError, match=r"something else.*seed 2"):
        write_shifted(original, tmp_path / "a", kind="noise", severity=2, seed=2)


def test_two_that_write_the_same_copies_wait_for_each_other(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second finds a complete folder and makes nothing."""
    original = open_dataset(source, check=False)
    calls, copies = [], writing._copies
    waiting, done = threading.Event(), []

    def slow(*args: Any) -> Any:
        calls.append(1)
        other.start()
        assert waiting.wait(10)
        return copies(*args)

    def second() -> None:
        done.append(write_shifted(original, tmp_path / "a", kind="grey", severity=1))

    class Waiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            waiting.set()

    other = threading.Thread(target=second)
    monkeypatch.setattr(writing, "_copies", slow)
    handler = Waiting()
    logging.getLogger("diffuprompt.runs.store").addHandler(handler)
    first = write_shifted(original, tmp_path / "a", kind="grey", severity=1)
    other.join()
    logging.getLogger("diffuprompt.runs.store").removeHandler(handler)
    assert (calls, done) == ([1], [first])
    assert len(list(first.rglob("*.png"))) == 6


@pytest.mark.parametrize("kind", SHIFTS)
def test_sides_of_one_pixel(kind: str) -> None:
    step = np.array([[[0] * 3, [0] * 3, [40] * 3, [40] * 3]], np.uint8)
    for pixels in (step, step.swapaxes(0, 1), step[:, :1]):
        shown = np.asarray(shifted(Image.fromarray(pixels), kind, 5, [1]))
        assert shown.shape == pixels.shape
        if kind == "edges":  # as in `test_edges_end_in_lines`
            assert shown[..., 0].ravel().tolist() == [255, 215, 215, 255][: pixels[..., 0].size]


def test_the_verb(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "shift", str(source), "--out", str(tmp_path / "o"), "--severities", "1"]
    assert main([*words, "--kinds", "palete", "blurr"]) == ConfigError.exit_code
    said = capsys.readouterr().err
    assert "'palete'. Did you mean 'palette'?" in said
    assert "'blurr'. Did you mean 'blur'?" in said
    assert main([*words, "--kinds", "jpeg", "edges"]) == 0
    assert "evaluate RUN --data" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "o").glob("[!.]*")) == ["edges-1", "jpeg-1"]
