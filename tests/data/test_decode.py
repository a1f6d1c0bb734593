"""What becomes of pixels that are not 8-bit colour, and which files are pictures at all."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features

from diffuprompt.data import decode
from diffuprompt.data.decode import image_size, load_image, read_picture, to_pixels
from diffuprompt.data.kinds import LEFT_OUT, find_pictures, formats, left_out, suffixes
from diffuprompt.data.levels import as_rgb, reading_of
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.problems import verify
from diffuprompt.data.sources import open_dataset
from diffuprompt.data.transforms import Preprocess
from diffuprompt.errors import DataError

GREY = np.arange(256, dtype=np.uint16).reshape(8, 32)
WIDE = (GREY * 257).astype(np.uint16)


def tiff(levels: np.ndarray, bits: int, order: str, *, white_is_zero: bool = False) -> bytes:
    """One strip of grey in either byte order; 12-bit levels are packed."""
    height, width = levels.shape
    if bits == 12:
        row = levels.reshape(-1, 2).astype(np.uint32)
        joined = (row[:, 0] << 12) | row[:, 1]
        pixels = b"".join(int(value).to_bytes(3, "big") for value in joined)
    else:
        pixels = levels.astype(f"{order}u2").tobytes()
    tags = [
        *((256, width), (257, height), (258, bits), (259, 1)),
        *((262, 0 if white_is_zero else 1), (273, 8), (277, 1), (278, height)),
        (279, len(pixels)),
    ]
    kind = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    head = kind + struct.pack(f"{order}I", 8 + len(pixels))
    return head + pixels + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def saved(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


SIXTEEN = {
    "png": lambda: saved(Image.fromarray(WIDE), "PNG"),
    "tif": lambda: saved(Image.fromarray(WIDE), "TIFF"),
    "be.tif": lambda: tiff(WIDE, 16, ">"),
    "le.tif": lambda: tiff(WIDE, 16, "<"),
    "inverted.tif": lambda: tiff(65535 - WIDE, 16, "<", white_is_zero=True),
    "twelve.tif": lambda: tiff(np.round(GREY / 255 * 4095).astype(np.uint16), 12, "<"),
    "pgm": lambda: b"P5\n32 8\n65535\n" + WIDE.astype(">u2").tobytes(),
    "ten.pgm": lambda: b"P5\n32 8\n1020\n" + (GREY * 4).astype(">u2").tobytes(),
    "ascii.pgm": lambda: ("P2\n32 8\n65535\n" + " ".join(map(str, WIDE.ravel()))).encode(),
    "jp2": lambda: saved(Image.fromarray(WIDE), "JPEG2000"),
}


@pytest.mark.parametrize("name", SIXTEEN)
def test_levels_of_more_bits_equal_those_of_eight(name: str, tmp_path: Path) -> None:
    """Pillow alone cuts them off at 255, which makes a photograph white."""
    if name == "jp2" and not features.check("jpg_2000"):
        pytest.skip("pillow without JPEG 2000")
    file = tmp_path / f"a.{name}"
    file.write_bytes(SIXTEEN[name]())
    found = np.asarray(load_image(file))
    assert found.shape == (8, 32, 3)
    assert np.array_equal(found[..., 0], GREY)
    assert np.array_equal(found[..., 1], found[..., 2])


def test_levels_between_are_rounded(tmp_path: Path) -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(levels).save(tmp_path / "a.png")
    found = np.asarray(load_image(tmp_path / "a.png"))[..., 0]
    assert np.abs(found - levels / 257).max() < 0.5


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_levels_of_unknown_range_are_refused_by_name(dtype: type, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(4):
            Image.new("L", (4, 4), 10 * i + (label == "cat")).save(tmp_path / label / f"{i}.tif")
    bad = tmp_path / "cat" / "2.tif"
    Image.fromarray(GREY.astype(dtype)).save(bad)
    with pytest.raises(DataError, match="range nobody knows; save it with 8 bits") as caught:
        load_image(bad)
    assert [str(p) for p in verify(open_dataset(tmp_path))] == [str(caught.value)]
    with pytest.raises(DataError, match=r"^picture 3: its levels"):
        to_pixels(Image.fromarray(GREY.astype(dtype)), "picture 3")


def test_ordinary_modes_are_read_as_ever(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"):
        source = Image.fromarray(colours, "RGBA").convert("RGB").convert(mode)
        file = tmp_path / ("a.png" if mode not in ("CMYK", "YCbCr") else "a.tif")
        source.save(file)
        with Image.open(file) as stored:
            expected = stored.convert("RGB")
        assert load_image(file).tobytes() == expected.tobytes()


@pytest.mark.parametrize("size", [(60000, 1), (20000, 4), (1, 20000), (3, 301)])
def test_strips_are_refused_before_they_are_decoded(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", size).save(tmp_path / "strip.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *args: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"strip\.png: .* more than 100 times the other; cut"):
        load_image(tmp_path / "strip.png")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(("width", "height"), [(12000, 12000), (40000, 40000), (2**31 - 1, 2**30)])
def test_pixels_are_bounded_from_the_header(width: int, height: int, tmp_path: Path) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match=r"a\.png: too many pixels .*at most 128 million"):
        load_image(tmp_path / "a.png")


@pytest.mark.parametrize("verb", [["train"], ["predict"], ["data", "verify"]])
def test_the_bound_is_said_in_the_help(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from diffuprompt.cli.main import main

    assert main([*verb, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"up to {decode.MAX_PIXELS // 10**6} million pixels" in shown


TEXT = zlib.compress(b"x" * 3_000_000)
METADATA = {
    "text": chunk(b"zTXt", b"note\0\0" + TEXT),
    "international": chunk(b"iTXt", b"note\0\1\0\0\0" + TEXT),
    "many": 70 * chunk(b"zTXt", b"note\0\0" + zlib.compress(b"x" * 1_000_000)),
    "profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(3_000_000))),
}


@pytest.mark.parametrize("kind", METADATA)
@pytest.mark.parametrize("behind", [False, True])
def test_large_metadata_does_not_hide_the_pixels(kind: str, behind: bool, tmp_path: Path) -> None:
    png = saved(Image.fromarray(GREY.astype(np.uint8)), "PNG")
    at = len(png) - 12 if behind else 33
    (tmp_path / "a.png").write_bytes(png[:at] + METADATA[kind] + png[at:])
    assert np.array_equal(np.asarray(load_image(tmp_path / "a.png"))[..., 0], GREY)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP"])
def test_damage_in_metadata_is_none_in_pixels(kind: bytes, tmp_path: Path) -> None:
    png = saved(Image.fromarray(GREY.astype(np.uint8)), "PNG")
    bad = chunk(kind, b"note\0\0x")[:-4] + b"\0\0\0\0"  # a wrong checksum
    (tmp_path / "a.png").write_bytes(png[:33] + bad + png[33:])
    assert np.array_equal(np.asarray(load_image(tmp_path / "a.png"))[..., 0], GREY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP"])
def test_a_damaged_head_is_damage(kind: str, tmp_path: Path) -> None:
    content = saved(Image.new("RGB", (9, 9)), kind)
    (tmp_path / "a.png").write_bytes(content[:14] + bytes(20))
    with pytest.raises(DataError, match=r"a\.png: (damaged image|too many pixels)"):
        load_image(tmp_path / "a.png")


def test_no_warning_of_pillow_is_printed(tmp_path: Path) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 12000, 9000, 8, 0, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "large.png").write_bytes(png)  # pillow warns above 89 million pixels
    palette = Image.new("P", (4, 4))
    palette.save(tmp_path / "p.png", transparency=bytes([0, 9, 200]))
    code = (
        "import sys, pathlib; from diffuprompt.data.decode import ImageError, load_image\n"
        "load_image(pathlib.Path(sys.argv[2]))\n"
        "try: load_image(pathlib.Path(sys.argv[1]))\n"
        "except ImageError as error: assert 'damaged' in str(error)\n"
        "import logging; logging.getLogger('PIL.TiffImagePlugin').error('raw')\n"
    )
    files = [str(tmp_path / "large.png"), str(tmp_path / "p.png")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS or PostScript"),
        (b"\xd7\xcd\xc6\x9a" + bytes(60), "WMF"),
        (b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(60), "EMF"),
        (b"%PDF-1.4\n", "PDF"),
        (b"\0\0\0\x18ftypheic" + bytes(60), "HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of a known kind"),
    ],
)
@pytest.mark.parametrize("name", ["a.jpg", "a.eps"])
def test_formats_of_other_programs_are_refused_by_name(
    content: bytes, message: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: pytest.fail("started a program"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_image(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    "raised",
    [KeyError("x"), OverflowError("x"), zlib.error("x"), RecursionError(), TypeError("x"),
     AttributeError("x"), NotImplementedError("x"), MemoryError()],
)  # fmt: skip
def test_whatever_a_decoder_raises_names_the_file(
    raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise raised

    (tmp_path / "a.png").write_bytes(saved(Image.new("L", (3, 3)), "PNG"))
    monkeypatch.setattr(decode, "as_rgb", fail)
    with pytest.raises(DataError, match=r"a\.png: (damaged image|not enough memory)"):
        load_image(tmp_path / "a.png")


def test_the_formats_are_those_that_pillow_decodes_by_itself() -> None:
    assert {"JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "PSD"} <= set(formats())
    assert not LEFT_OUT & set(formats())
    assert {".jpg", ".jfif", ".jpe", ".png", ".tif", ".psd", ".mpo"} <= suffixes()
    assert (".avif" in suffixes()) == features.check("avif")
    assert not {".eps", ".ps", ".wmf", ".emf", ".pdf", ".mpg", ".h5", ".heic"} & suffixes()


def make_folder(root: Path) -> Path:
    """Two classes with everything that may lie beside pictures."""
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for i, kind in enumerate(("jpg", "JFIF", "png", "psd.png")):
            picture = Image.fromarray((GREY // 2 + 10 * i + 50 * (label == "cat")).astype(np.uint8))
            picture.save(root / label / f"{i}.{kind}", "PNG" if "png" in kind else "JPEG")
        for name in ("._0.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden/x.jpg"):
            (root / label / name).parent.mkdir(exist_ok=True)
            (root / label / name).write_bytes(b"\0\5\26\7")
    for name in ("__MACOSX/cat/._0.jpg", "cat/@eaDir/0.jpg"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"\0\5\26\7")
    return root


def names_of(manifest: Manifest) -> set[str]:
    return {item.path for items in manifest.splits.values() for item in items}


def test_one_rule_says_what_a_folder_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from diffuprompt.cli.predict import expand

    root = make_folder(tmp_path / "pets")
    manifest = open_dataset(root)
    assert len(names_of(manifest)) == 8
    assert {str(root / name) for name in names_of(manifest)} == {str(p) for p in expand([root])}
    assert verify(manifest) == []
    assert not caplog.records
    assert capsys.readouterr().err == ""
    for name in ("a.txt", "b.TXT", "c.mp4", "README"):
        (root / "cat" / name).write_bytes(b"x")
    open_dataset(root)
    expand([root])
    told = "left out 4 files that are no pictures: 1 .mp4, 2 .txt, 1 without an ending"
    assert told in caplog.text
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["heic", "HEIF", "CR2", "svg", "jxl", "eps", "wmf"])
def test_pictures_that_cannot_be_read_are_told(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from diffuprompt.cli.predict import expand

    root = make_folder(tmp_path / "pets")
    (root / "dog" / f"x.{kind}").write_bytes(b"x")
    with pytest.raises(DataError, match=rf"1 image\(s\) in a format that.*(.|\n)*dog/x\.{kind}"):
        open_dataset(root)
    assert len(expand([root])) == 8
    assert f"1 .{kind.lower()}" in capsys.readouterr().err
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / f"x.{kind}").write_bytes(b"x")
    with pytest.raises(DataError, match=f"no images in this folder; left out.*1 .{kind.lower()}"):
        expand([tmp_path / "only"])


def test_a_name_that_is_no_text_is_refused_everywhere(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    bad = Path(str(root / "cat" / "x") + "\udcff.jpg")
    picture = (root / "cat" / "0.jpg").read_bytes()
    refusals: list[Callable[[], object]] = [
        lambda: find_pictures(root),
        lambda: open_dataset(root),
        lambda: load_image(bad),
    ]
    bad.write_bytes(picture)
    for refuse in refusals:
        with pytest.raises(DataError, match=r"x\\xff\.jpg: the file name is no valid UTF-8"):
            refuse()
    bad.unlink()
    folder = Path(str(root / "owl") + "\udce9")
    folder.mkdir()
    (folder / "1.jpg").write_bytes(picture)
    for refuse in refusals[:2]:
        with pytest.raises(DataError, match=r"owl\\xe9.*no valid UTF-8"):
            refuse()


def test_what_the_system_refuses_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "fifo.jpg")
    for name, message in (
        ("loop.jpg", "cannot be read"),
        ("gone.jpg", "not found"),
        ("fifo.jpg", "empty"),
        ("x" * 5000, "cannot be read"),
        ("a\0.jpg", "null"),
    ):
        with pytest.raises(DataError, match=message):
            load_image(tmp_path / name)
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
    with pytest.raises(DataError, match=r"class 'cat' has no image"):
        open_dataset(tmp_path / "data")

    def deny(*args: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "data"))

    monkeypatch.setattr(os, "scandir", deny)
    monkeypatch.setattr(Path, "iterdir", deny)
    for read in (open_dataset, find_pictures):
        with pytest.raises(DataError, match=r"data: cannot be read \(Permission denied\)"):
            read(tmp_path / "data")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b.jpg", "a\udcff.jpg", "gone.jpg"])
def test_predict_names_what_is_not_there(name: str) -> None:
    from diffuprompt.cli.predict import expand

    with pytest.raises(DataError, match="no such file") as caught:
        expand([Path(name)])
    str(caught.value).encode()


def test_orientation_is_read_and_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 3)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (6, 3)).save(tmp_path / "b.png")
    image, orientation = read_picture(tmp_path / "a.jpg")
    assert (image.size, orientation) == ((6, 3), 6)
    assert read_picture(tmp_path / "b.png")[1] == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "16.png"])
def test_views_turn_pictures_where_they_are_asked_to(
    orientation: int, kind: str, tmp_path: Path
) -> None:
    stored = Image.fromarray(np.random.default_rng(3).integers(0, 256, (20, 30), dtype=np.uint8))
    if kind == "16.png":
        stored = Image.fromarray((np.asarray(stored).astype(np.uint16) * 257).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"a.{kind}"
    stored.save(file, exif=exif)
    plain = Preprocess.for_size(16)
    turning = replace(plain, exif_orientation=True)
    image = load_image(file)
    with Image.open(file) as opened:  # of a TIFF pillow itself turns the pixels
        expected = plain.test_view(as_rgb(ImageOps.exif_transpose(opened)))
    assert torch.equal(turning.test_view(image), expected)
    assert torch.equal(plain.test_view(image), plain.test_view(Image.fromarray(np.asarray(image))))
    with Image.open(file) as opened:
        assert torch.equal(turning.test_view(to_pixels(opened, "a")), expected)
    assert (plain.hash == turning.hash) is False
    assert Preprocess.from_hf(turning.to_hf(), "x") == turning
    assert "exif_orientation" not in plain.to_hf()


def test_only_pictures_that_are_read_anew_are_marked(tmp_path: Path) -> None:
    """Their cached features, and what was trained on them, are not those of before."""
    marks = {}
    for name, make in SIXTEEN.items():
        (tmp_path / f"a.{name}").write_bytes(make())
        marks[name] = reading_of(tmp_path / f"a.{name}")
    assert set(marks.values()) == {"16 bits"}
    for name in ("a.png", "a.jpg", "a.tif"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert {reading_of(tmp_path / name) for name in ("a.png", "a.jpg", "a.tif", "b.png")} == {""}


def test_nothing_is_left_out_without_files() -> None:
    assert left_out([]) == ""
    assert json.dumps(left_out([Path("a.\x1b")])) == json.dumps(
        "left out 1 file that is no picture: 1 .\\x1b"
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_size_from_the_header(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(saved(Image.new("RGB", (37, 23)), kind))
    image = load_image(path)
    assert image_size(path) == (image.height, image.width) == (23, 37)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the image file is empty"),
        (b"hello, I am a text", "not an image of a known kind"),
        (saved(Image.new("RGB", (1010, 10)), "PNG"), "one side is more than 100 times the other"),
        (None, "image file not found"),
    ],
)
def test_size_of_what_is_no_picture(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    for read in (image_size, load_image):
        with pytest.raises(DataError, match=problem):
            read(path)
