"""The catalog: its facts, the layouts it finds, and what it says when files are missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from diffuprompt.data.catalog import CATALOG, names, open_named
from diffuprompt.data.fewshot import base_new, few_shot
from diffuprompt.data.locate import VARIABLE, data_folders
from diffuprompt.data.sources import open_dataset
from diffuprompt.data.splitfile import read_split_file
from diffuprompt.errors import DataError

SPLIT = {
    "train": [["Faces/1.jpg", 0, "face"], ["ant/1.jpg", 1, "ant"]],
    "val": [],
    "test": [["ant/2.jpg", 1, "ant"]],
}


def fake_caltech(root: Path, folder: str, split: str) -> Path:
    for items in SPLIT.values():
        for path, _, _ in items:
            file = root / folder / "101_ObjectCategories" / str(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
    (root / split).parent.mkdir(parents=True, exist_ok=True)
    (root / split).write_text(json.dumps(SPLIT))
    return root


LAYOUTS = [
    ("caltech-101", "caltech-101/split_zhou_Caltech101.json"),
    ("caltech101", "coop-splits/split_zhou_Caltech101.json"),
    ("data/caltech101", "data/coop-splits/split_zhou_Caltech101.json"),
    ("caltech-101", "split_zhou_Caltech101.json"),
]


@pytest.mark.parametrize(("folder", "split"), LAYOUTS)
def test_layouts(folder: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake_caltech(tmp_path / "shared", folder, split)
    manifest = open_dataset("caltech101", root=root)
    assert (manifest.name, manifest.classes) == ("caltech101", ("face", "ant"))
    assert manifest.root == root / folder / "101_ObjectCategories"

    monkeypatch.setenv(VARIABLE, str(root))
    assert open_dataset("caltech101").root == manifest.root

    monkeypatch.delenv(VARIABLE)
    (tmp_path / "checkout" / ".git").mkdir(parents=True)
    (tmp_path / "checkout" / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "checkout" / "deep" / "er")
    assert open_dataset("caltech101").root == manifest.root


def test_unofficial_sizes_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_named("caltech101", root=fake_caltech(tmp_path, *LAYOUTS[0]))
    assert "(2, 0, 1) images, not the official (4128, 1649, 2465)" in caplog.text


def test_missing_files_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dtd").mkdir()
    with pytest.raises(DataError) as caught:
        open_named("dtd", root=tmp_path)
    for part in (
        "DTD: files are missing",
        str(tmp_path / "dtd" / "images"),
        str(tmp_path / "coop-splits" / "split_zhou_DescribableTextures.json"),
        VARIABLE,
    ):
        assert part in str(caught.value)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no data folder found"):
        open_named("dtd")


@pytest.mark.parametrize("name", ["imagenet", "imagenetv2", "imagenet_a"])
def test_imagenet_asks_for_pictures_and_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the image folder imagenet(.|\n)*classnames\.txt"):
        open_named(name, root=tmp_path)


def test_scenes_get_a_folder_of_their_own_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Path | None, str]] = []
    monkeypatch.setattr(
        "diffuprompt.data.scenes.materialise", lambda cache, style: calls.append((cache, style))
    )
    open_named("scenes", cache=tmp_path)
    open_named("scenes-sketch", cache=tmp_path)
    open_named("scenes")
    assert calls == [
        (tmp_path / "scenes", "clean"),
        (tmp_path / "scenes-sketch", "sketch"),
        (None, "clean"),
    ]


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'oxford_pets'"):
        open_named("oxfordpets", root=tmp_path)


def test_aircraft_reads_the_official_lists(tmp_path: Path) -> None:
    home = tmp_path / "fgvc_aircraft"
    home.mkdir()
    (home / "variants.txt").write_text("A310\nF-16A/B\nDR-400 S\n")
    (home / "images_variant_train.txt").write_text("001 F-16A/B\n002 DR-400 S\n")
    (home / "images_variant_val.txt").write_text("003 A310\n")
    with pytest.raises(DataError, match=r"images_variant_test\.txt"):
        open_named("fgvc_aircraft", root=tmp_path)
    (home / "images_variant_test.txt").write_text("004 DR-400 S\n")
    manifest = open_named("fgvc_aircraft", root=tmp_path)
    assert manifest.classes == ("A310", "F-16A/B", "DR-400 S")
    rows = {s: [(i.path, i.label) for i in items] for s, items in manifest.splits.items()}
    assert rows == {
        "train": [("images/001.jpg", 1), ("images/002.jpg", 2)],
        "val": [("images/003.jpg", 0)],
        "test": [("images/004.jpg", 2)],
    }
    (home / "images_variant_test.txt").write_text("004 DR-500\n")
    with pytest.raises(DataError, match=r"images_variant_test\.txt line 1: variant 'DR-500'"):
        open_named("fgvc_aircraft", root=tmp_path)


def test_the_catalog_has_the_benchmarks_fifteen() -> None:
    assert len(CATALOG) == 15
    assert sum(bool(entry.split) for entry in CATALOG.values()) == 9
    assert all(entry.template.count("{}") == 1 for entry in CATALOG.values())
    assert "scenes" in names()


HALVES = {
    "caltech101": (50, 50),
    "oxford_pets": (19, 18),
    "stanford_cars": (98, 98),
    "oxford_flowers": (51, 51),
    "dtd": (24, 23),
    "eurosat": (5, 5),
    "ucf101": (51, 50),
}


@pytest.mark.parametrize("name", list(HALVES))
def test_official_splits_have_the_sizes_of_the_catalog(name: str, shared_data: Path) -> None:
    entry = CATALOG[name]
    whole = read_split_file(shared_data / "coop-splits" / entry.split_file)
    assert tuple(len(items) for items in whole.splits.values()) == entry.sizes
    assert len(whole.classes) == entry.num_classes == sum(HALVES[name])
    halves = base_new(few_shot(whole, 16, 1))
    assert tuple(len(half.classes) for half in halves) == HALVES[name]
    shots = Counter(item.label for item in whole.splits["train"])
    for half, first in zip(halves, (0, HALVES[name][0]), strict=True):
        labels = range(first, first + len(half.classes))
        assert len(half.splits["train"]) == sum(min(16, shots[label]) for label in labels)
    assert sum(len(half.splits["test"]) for half in halves) == entry.sizes[2]


def test_caltech_is_complete(shared_data: Path) -> None:
    manifest = open_dataset("caltech101", root=shared_data)  # finds every file, or raises
    sizes = {split: len(items) for split, items in manifest.splits.items()}
    assert sizes == {"train": 4128, "val": 1649, "test": 2465}
    assert len(manifest.classes) == 100
    assert manifest.classes[:2] == ("face", "leopard")


def test_data_folders_are_empty_where_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    assert data_folders() == []


def test_opening_data_loads_no_torch() -> None:
    rooms = "catalog, fewshot, manifest, sources, verify"
    code = f"from diffuprompt.data import {rooms}; import sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
