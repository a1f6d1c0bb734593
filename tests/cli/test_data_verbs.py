"""`diffuprompt data ...`: names of one's own, subsets to share, checksums, and the doctor."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image
from tests.data.layouts import build_layout
from tests.data.test_archives import write_table
from tests.world import command

from diffuprompt.data.fewshot import few_shot
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import DataError


def birds(folder: Path) -> Path:
    for label, name in enumerate(("owl", "wren")):
        for split in ("train", "test"):
            for i in range(3):
                file = folder / split / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (4, 4), (label, i, len(split))).save(file)
    return folder


def test_a_name_is_added_used_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    birds(tmp_path / "pictures")
    done = command("data", "add", "birds", "pictures")
    assert done.code == 0
    assert f"birds is {tmp_path / 'pictures'} from now on" in done.out
    done = command("data", "verify", "birds")
    assert (done.code, done.out.startswith("birds: 2 classes")) == (0, True)
    assert str(tmp_path / "pictures") in command("ls", "datasets", "birds").out
    assert "complete" in command("data", "doctor", "birds").out
    done = command("data", "remove", "brids")
    assert (done.code, "Did you mean 'birds'" in done.err) == (2, True)
    assert command("data", "remove", "birds").code == 0
    assert command("data", "verify", "birds").code == 3


def test_a_table_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        write_table(tmp_path / "insects" / f"{split}-0.parquet", len(split))
    monkeypatch.chdir(tmp_path)
    assert command("data", "add", "mine", "hf:insects?label=label").code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command("data", "verify", "mine").code == 0


@pytest.mark.parametrize(
    ("name", "path", "code", "message"),
    [
        ("Caltech-101", "pictures", 2, "is 'caltech101' of the catalog"),
        ("a/b", "pictures", 2, "is no name"),
        ("birds", "nowhere", 3, "neither a path that exists"),
        ("birds", "empty", 3, "one sub folder per class"),
        ("birds", "scenes", 2, "is a name already"),
    ],
)
def test_what_cannot_be_added(
    name: str, path: str, code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    birds(tmp_path / "pictures")
    (tmp_path / "empty").mkdir()
    done = command("data", "add", name, path)
    assert (done.code, message in done.err) == (code, True), done.err


def test_a_subset_is_the_one_that_training_draws(tmp_path: Path) -> None:
    """Also in the file's own terms: drawing as many shots from it again changes nothing."""
    build_layout("dtd", tmp_path, per_class=5)
    out = tmp_path / "shared" / "subset.json"
    done = command(
        *("data", "fewshot", "dtd", "--data-root", tmp_path),
        *("--shots", 2, "--seed", 3, "--out", out),
    )
    assert done.code == 0
    whole = open_dataset("dtd", root=tmp_path)
    drawn = few_shot(whole, 2, 3)
    subset = open_dataset(out, root=whole.root)
    assert (subset.splits, subset.classes) == (drawn.splits, whole.classes)
    again = few_shot(subset, 2, 1)
    for split, items in again.splits.items():
        assert set(items) == set(drawn.splits[split])
    paths = [row[0] for rows in json.loads(out.read_text()).values() for row in rows]
    assert not [path for path in paths if path.startswith("/")]
    assert f"--data {out} --data-root {whole.root} --shots 2" in done.out


def test_what_trains_on_a_subset_is_what_trains_on_the_whole(tmp_path: Path) -> None:
    """What a name of the catalog says by itself is said: protocol, template, links that are."""
    build_layout("dtd", tmp_path / "data", per_class=2)
    images = tmp_path / "data" / "dtd" / "images"
    images.rename(tmp_path / "elsewhere")
    images.mkdir()
    for folder in (tmp_path / "elsewhere").iterdir():
        (images / folder.name).symlink_to(folder)
    out = tmp_path / "my subset.json"
    done = command("data", "fewshot", "dtd", "--data-root", tmp_path / "data", "--out", out)
    words = shlex.split(next(line for line in done.out.splitlines() if "train --data" in line))
    assert words[2:] == [
        *("--data", str(out), "--data-root", str(images), "--shots", "16"),
        *("--protocol", "base-to-new", "--allow-outside"),
    ]
    assert "--templates '{} texture.'" in done.out
    with pytest.raises(DataError, match="allow it with --allow-outside"):
        open_dataset(out, root=images)
    own = birds(tmp_path / "pictures")
    done = command("data", "fewshot", own, "--out", tmp_path / "own.json", "--shots", 2)
    assert not [word for word in ("--protocol", "--templates", "--allow") if word in done.out]


def test_checksums_are_written_and_compared(tmp_path: Path) -> None:
    folder, sums = birds(tmp_path / "pictures"), tmp_path / "birds.sha256"
    done = command("data", "verify", folder, "--write-checksums", sums)
    assert (done.code, f"12 checksums in {sums}" in done.out) == (0, True)
    assert command("data", "verify", folder, "--checksums", sums).code == 0
    Image.new("RGB", (5, 4), (9, 9, 9)).save(folder / "test" / "owl" / "1.png")
    done = command("data", "verify", folder, "--checksums", sums)
    assert done.code == 3
    assert f"{folder / 'test' / 'owl' / '1.png'}: other bytes than the checksums say" in done.out


def test_the_doctor_fails_for_what_was_asked_for_alone(tmp_path: Path) -> None:
    build_layout("imagenet_a", tmp_path, per_class=1)
    done = command("data", "doctor", "--data-root", tmp_path)
    assert done.code == 0
    rows = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert rows["imagenet_a"].split()[1:7] == ["differs", "3", "-", "-", "3", "of"]
    assert rows["dtd"].split()[1] == "missing"
    done = command("data", "doctor", "imagenet_a", "--data-root", tmp_path)
    assert (done.code, "test: 3 images, officially 7500" in done.out) == (0, True)
    done = command("data", "doctor", "imagenet_a", "dtd", "--data-root", tmp_path)
    assert (done.code, "split_zhou_DescribableTextures.json" in done.out) == (3, True)
    assert "Cimpoi" in done.out
    # what is published to test on needs no training images
    assert command("data", "verify", "imagenet_a", "--data-root", tmp_path).code == 0
