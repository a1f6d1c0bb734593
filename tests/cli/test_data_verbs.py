"""`diffuprompt data ...`: names of one's own, subsets to share, checksums, and the doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.data.layouts import build_layout
from tests.world import command

from diffuprompt.data.fewshot import few_shot
from diffuprompt.data.sources import open_dataset


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
