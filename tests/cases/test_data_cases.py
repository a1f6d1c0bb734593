"""Cases from public reports about pictures and data sets: what is right, on inputs like theirs."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.shared_fixtures import own_cache, world  # noqa: F401
from tests.world import asked

from diffuprompt.checkpoints import load as places
from diffuprompt.cli.main import main
from diffuprompt.cli.predict import expand
from diffuprompt.data.images import iterate
from diffuprompt.data.manifest import Item
from diffuprompt.data.scenes import dataset as scenes
from diffuprompt.data.sources import open_dataset
from diffuprompt.data.transforms import Preprocess
from diffuprompt.errors import DataError
from diffuprompt.hub import Classifier
from diffuprompt.jobs import evaluate_run, prepared as preparing
from diffuprompt.jobs.command import command
from diffuprompt.jobs.prepared import prepare
from diffuprompt.jobs.train import train_job

NAMES = ("accordion", "anchor", "ant")


def picture(number: int) -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((24, 20), Image.Resampling.BICUBIC)


def folders(out: Path, names: Sequence[str] = NAMES, each: int = 8, first: int = 0) -> Path:
    for label, name in enumerate(names):
        (out / name).mkdir(parents=True)
        for i in range(1, each + 1):
            picture(first + 100 * label + i).save(out / name / f"{i:02}.png")
    return out


def verified(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
    """Return the exit code of ``data verify`` and the problems that it lists."""
    code = main(["data", "verify", *words])
    lines = capsys.readouterr().out.splitlines()
    return code, [line for line in lines if line.startswith(("error: ", "warning: "))]


def trained(world: Path, data: Path, **values: object) -> str:  # noqa: F811
    """Return what training says where it refuses a data set, every line of it."""
    with pytest.raises(DataError) as caught:
        train_job(asked(world, data=str(data), protocol="few-shot", **values))
    return str(caught.value)


def views(root: Path, items: Sequence[Item]) -> np.ndarray:
    preprocess = Preprocess.for_size(16)
    batches = iterate(items, root, lambda image, _: preprocess.test_view(image), 8)
    return np.concatenate([b.pixels.numpy() for b in batches if b.pixels is not None])


def test_sixteen_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders(tmp_path / "eight")
    for file in sorted((tmp_path / "eight").rglob("*.png")):
        grey = np.asarray(Image.open(file).convert("L"))
        Image.fromarray(grey).save(file)
        wide = tmp_path / "sixteen" / file.parent.name / file.name
        wide.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((grey.astype(np.uint16) * 257).astype(np.uint16)).save(wide)
    eight, sixteen = (open_dataset(tmp_path / kind) for kind in ("eight", "sixteen"))
    assert eight.hash == sixteen.hash
    for split, items in eight.splits.items():
        found = [views(m.root, m.splits[split]) for m in (eight, sixteen)]
        assert np.array_equal(*found)
        assert len(items) == len(found[0])
    assert verified(capsys, str(tmp_path / "sixteen")) == (0, [])


@pytest.mark.parametrize("names", [("n02672831", "n02709367", "n02219486"), ("0", "1", "2")])
def test_identifiers_as_names(
    world: Path,  # noqa: F811
    names: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = folders(tmp_path / "data", names)
    code, lines = verified(capsys, str(root))
    assert code == 0
    assert len(lines) == 1
    assert "a text tower knows words" in lines[0]
    prepare(asked(world, data=str(root), protocol="few-shot"))
    assert lines[0].removeprefix("warning: ") in caplog.text
    caplog.clear()
    pairs = zip(names, NAMES, strict=True)
    (root / "classnames.txt").write_text("".join(f"{i} {n}\n" for i, n in pairs))
    assert verified(capsys, str(root)) == (0, [])
    found = prepare(asked(world, data=str(root), protocol="few-shot"))
    assert sorted(found.manifest.classes) == sorted(NAMES)
    assert "a text tower knows words" not in caplog.text


def test_unread_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folders(tmp_path / "data")
    for i, kind in enumerate(("JPEG", "PNG", "GIF"), start=1):
        file = root / "ant" / f"{i:02}.png"
        endings = {"JPEG": ".jfif", "PNG": ".apng", "GIF": ".GIF"}
        picture(500 + i).save(file.with_suffix(endings[kind]), kind)
        file.unlink()
    manifest = open_dataset(root)
    paths = {root / item.path for items in manifest.splits.values() for item in items}
    assert len(paths) == 24
    assert paths == set(expand([root]))
    assert verified(capsys, str(root)) == (0, [])


def test_mac_names(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Grünfink") for form in ("NFC", "NFD"))
    folders(tmp_path / "train", (composed, "robin"))
    folders(tmp_path / "test", (decomposed, "robin"), first=1000)
    found = open_dataset(tmp_path)
    assert found.classes == (composed, "robin")
    assert {split: len(items) for split, items in found.splits.items()} == {
        "train": 16,
        "val": 0,
        "test": 16,
    }


@pytest.mark.parametrize("size", [(60000, 1), (20000, 4), (1, 20000)])
def test_strips(
    world: Path,  # noqa: F811
    size: tuple[int, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for split, first in (("train", 0), ("test", 1000)):
        folders(tmp_path / "data" / split, each=2, first=first)
    strip = tmp_path / "data" / "train" / "ant" / "strip.png"
    Image.new("RGB", size).save(strip)
    code, lines = verified(capsys, str(tmp_path / "data"))
    assert code == 3
    assert trained(world, tmp_path / "data", shots=4) == lines[0].removeprefix("error: ")
    assert lines[0].startswith(f"error: {strip}: {size[0]} x {size[1]} pixels: one side")
    assert main(["predict", str(strip), "--classes", "a,b"]) == 3
    assert lines[0].removeprefix("error: ") in capsys.readouterr().err


def test_strips_take_no_memory(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    Image.new("L", (1, 20000)).save(tmp_path / "a.png")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from diffuprompt.data.decode import ImageError, load_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load_image(Path(sys.argv[1]))\n"
        "except ImageError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    grown = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert resource
    assert grown < 50_000 * (1024 if sys.platform == "darwin" else 1)  # kilobytes elsewhere


def test_metadata(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    root = folders(tmp_path / "data")
    for number, (kind, head) in enumerate(((b"zTXt", b"note\0\0"), (b"iCCP", b"icc\0\0"))):
        stream = io.BytesIO()
        picture(900 + number).save(stream, "PNG")
        png = stream.getvalue()
        large = chunk(kind, head + zlib.compress(bytes(3_000_000)))
        (root / "ant" / f"large{number}.png").write_bytes(png[:33] + large + png[33:])
    assert verified(capsys, str(root)) == (0, [])


def test_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders(tmp_path / "ds")
    rows = [(path, path.parent.name) for path in sorted(root.rglob("*.png"))]
    listed = "path,label\n" + "".join(f"{p},{c}\n" for p, c in rows)
    (root / "absolute.csv").write_text(listed)
    (root / "windows.csv").write_text(
        "path,label\n" + "".join(f"{c}\\{p.name},{c}\n" for p, c in rows)
    )
    parts = {"train": range(1, 5), "val": range(5, 6), "test": range(6, 9)}
    split = {
        s: [[f"{c}/{p.name}", NAMES.index(c), c] for p, c in rows if int(p.stem) in numbers]
        for s, numbers in parts.items()
    }
    (root / "split_bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(split).encode())
    monkeypatch.chdir(tmp_path)
    for name in ("absolute.csv", "windows.csv", "split_bom.json"):
        assert verified(capsys, f"ds/{name}") == (0, [])
    assert open_dataset("ds/absolute.csv").hash == open_dataset("ds/windows.csv").hash


def test_folder_to_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.jpg", "b.JPG", "c.jfif"):
        picture(1).save(tmp_path / name, "JPEG")
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "e.txt").write_text("x")
    assert [path.name for path in expand([tmp_path])] == ["a.jpg", "b.JPG", "c.jfif"]
    assert "1 .heic, 1 .txt" in capsys.readouterr().err


@pytest.mark.parametrize("learner", ["coop", "zero-shot", "cocoop"])
def test_long_name(
    world: Path,  # noqa: F811
    learner: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = folders(tmp_path / "data", ("accordion", "anchor", "x9q" * 50))
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "picture_hashes", lambda *args: pytest.fail("pictures read"))
        patch.setattr(preparing, "load_clip", lambda *args: pytest.fail("weights read"))
        said = trained(world, root, learner=learner)
    assert "class name 'x9qx9q" in said
    code, lines = verified(capsys, str(root), "--backbone", str(world / "clip"))
    assert code == 3
    assert len(lines) == 1
    assert "class name 'x9qx9q" in lines[0]
    if learner == "coop":
        assert lines[0].removeprefix("error: ") in said
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "clip").symlink_to(world / "clip")
        monkeypatch.setenv("DIFFUPROMPT_MODELS", str(tmp_path / "models"))
        monkeypatch.delenv("DIFFUPROMPT_DATA", raising=False)  # a better one may lie beside it
        monkeypatch.setattr(places, "CHECKOUT", Path("nowhere"))
        assert verified(capsys, str(root)) == (code, lines)  # with the backbone of training


def test_an_orientation_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folders(tmp_path / "data")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(77).save(root / "ant" / "turned.jpg", exif=exif)
    code, lines = verified(capsys, str(root))
    assert code == 0
    assert len(lines) == 1
    assert "1 of 25 images" in lines[0]
    assert "turned.jpg" in lines[0]
    assert "EXIF orientation" in lines[0]


@pytest.mark.parametrize(
    "kind", ["no test image", "one class", "same name", "gone", "twice", "outside"]
)
def test_training_says_what_verify_says(
    world: Path,  # noqa: F811
    kind: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = folders(tmp_path / "data", each=4)
    rows = [
        [f"{name}/{i:02}.png", name, "train" if i < 3 else "test"]
        for name in NAMES
        for i in range(1, 5)
    ]
    if kind == "no test image":
        rows = [row for row in rows if row[1:] != ["ant", "test"]]
    elif kind == "one class":
        rows = [row for row in rows if row[1] == "ant"]
    elif kind == "same name":
        rows = [[row[0], "An_Chor" if row[1] == "ant" else row[1], row[2]] for row in rows]
        rows = [[row[0], row[1].replace("anchor", "an chor"), row[2]] for row in rows]
    elif kind == "gone":
        (root / "ant" / "02.png").unlink()
    elif kind == "twice":
        rows.append(["ant/../ant/01.png", "ant", "test"])
    else:
        rows.append(["../other.png", "ant", "test"])
        picture(5000).save(tmp_path / "other.png")
    table = root / "table.csv"
    table.write_text("path,label,split\n" + "".join(",".join(row) + "\n" for row in rows))
    said = trained(world, table)
    code = main(["data", "verify", str(table)])
    shown = capsys.readouterr()
    assert code == 3
    errors = [line.removeprefix("error: ") for line in (shown.out + shown.err).splitlines()]
    for line in said.splitlines()[1:]:
        assert line.strip() in [error.strip() for error in errors]
    if kind == "outside":
        assert verified(capsys, str(table), "--allow-outside") == (0, [])
        job = asked(world, data=str(table), allow_outside=True, protocol="few-shot")
        assert len(prepare(job).manifest.splits["test"]) == 7


def test_scenes_lie_under_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(scenes, "COUNTS", {"train": 1, "val": 1, "test": 1})
    found = open_dataset("scenes")
    assert found.root.is_relative_to(tmp_path / "own")
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"own"}
    monkeypatch.delenv("DIFFUPROMPT_CACHE")
    assert scenes.cache_folder("clean").is_relative_to(tmp_path / "xdg" / "diffuprompt")


def test_an_option_applies_the_orientation(world: Path, tmp_path: Path) -> None:  # noqa: F811
    """In training, evaluation and prediction alike, and another run than without it."""
    upright, turned = folders(tmp_path / "upright"), folders(tmp_path / "turned")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    for file in sorted(turned.rglob("*.png")):
        with Image.open(file) as image:
            image.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif)
    jobs = {
        "upright": asked(world, data=str(upright), protocol="few-shot", runs_dir=tmp_path / "a"),
        "told": asked(
            world, data=str(turned), protocol="few-shot", exif_orientation=True,
            runs_dir=tmp_path / "b",
        ),
        "untold": asked(world, data=str(turned), protocol="few-shot", runs_dir=tmp_path / "c"),
    }  # fmt: skip
    assert "--exif-orientation" in command(jobs["told"])
    prepared = {name: prepare(job) for name, job in jobs.items()}
    items = prepared["upright"].roles.train.items
    features = {name: one.load().train.store.test(items) for name, one in prepared.items()}
    assert torch.equal(features["upright"], features["told"])
    assert not torch.equal(features["upright"], features["untold"])
    assert len({one.run_name for one in prepared.values()}) == 3
    assert len({one.chain.learner.key for one in prepared.values()}) == 3
    run = train_job(jobs["told"])
    evaluate_run(run)
    model = Classifier.from_pretrained(run / "artifact")
    files = [tmp_path / kind / "ant" / "01.png" for kind in ("upright", "turned")]
    one, other = model.predict(files)
    assert torch.equal(one, other)
    long = folders(tmp_path / "long", ("ant", "x9q" * 50))
    with pytest.raises(DataError, match="class name 'x9qx9q"):
        evaluate_run(run, data=[str(long)])
    (upright / "ant" / "link.png").symlink_to(long / "ant" / "01.png")
    with pytest.raises(DataError, match="--allow-outside"):
        evaluate_run(run, data=[str(upright)])
    evaluate_run(run, data=[str(upright)], allow_outside=True)
