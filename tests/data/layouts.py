"""Miniature copies of the fifteen published data sets, in the layouts they are published in.

`build_layout` draws four classes of tiny pictures and lays them out as the original does: folders,
file names, lists, and the community's split file where there is one. Nothing is copied from them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

SIDE = 16
SHADES = ((200, 40, 40), (40, 180, 60), (40, 70, 210), (220, 210, 60))
SPLITS = ("train", "val", "test")
WNIDS = ("n01440764", "n01443537", "n01484850", "n01491361")
PUBLISHED: dict[str, tuple[str, ...]] = {
    "imagenet": ("tench", "goldfish", "great white shark", "tiger shark"),
    "caltech101": ("face", "leopard", "accordion", "airplane"),
    "oxford_pets": ("abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound"),
    "stanford_cars": (
        *("2000 AM General Hummer SUV", "2012 Acura RL Sedan"),
        *("2012 Acura TL Sedan", "2008 Acura TL Type-S"),
    ),
    "oxford_flowers": ("pink primrose", "hard-leaved pocket orchid", "sweet pea", "marigold"),
    "food101": ("apple_pie", "baby_back_ribs", "baklava", "beef_carpaccio"),
    "fgvc_aircraft": ("707-320", "A310", "DR-400", "F-16A/B"),
    "sun397": ("abbey", "airplane_cabin", "indoor church", "outdoor church"),
    "dtd": ("banded", "blotchy", "braided", "bubbly"),
    "eurosat": ("Annual Crop Land", "Forest", "Highway or Road", "Sea or Lake"),
    "ucf101": ("Apply_Eye_Makeup", "Apply_Lipstick", "Archery", "Baby_Crawling"),
    "imagenetv2": ("tench", "goldfish", "great white shark", "tiger shark"),
    "imagenet_sketch": ("tench", "goldfish", "great white shark", "tiger shark"),
    # the 200 names of their own are some of ImageNet's; the labels begin at 0 again
    "imagenet_a": ("goldfish", "great white shark", "tiger shark"),
    "imagenet_r": ("tench", "goldfish", "tiger shark"),
}
TEST_ONLY = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
WITHOUT_VAL = ("imagenet", *TEST_ONLY)
# published with lists of their own beside the community's split file
WITH_LISTS = ("oxford_pets", "food101", "sun397", "dtd", "ucf101")
_SPLIT_FILES = {
    "caltech101": "caltech-101/split_zhou_Caltech101.json",
    "oxford_pets": "oxford_pets/split_zhou_OxfordPets.json",
    "stanford_cars": "stanford_cars/split_zhou_StanfordCars.json",
    "oxford_flowers": "oxford_flowers/split_zhou_OxfordFlowers.json",
    "food101": "food-101/split_zhou_Food101.json",
    "sun397": "sun397/split_zhou_SUN397.json",
    "dtd": "dtd/split_zhou_DescribableTextures.json",
    "eurosat": "eurosat/split_zhou_EuroSAT.json",
    "ucf101": "ucf101/split_zhou_UCF101.json",
}
_CALTECH = ("Faces", "Leopards", "accordion", "airplanes")
_PETS = ("Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound")
_SUN = ("/a/abbey", "/a/airplane_cabin", "/c/church/indoor", "/c/church/outdoor")
_EUROSAT = ("AnnualCrop", "Forest", "Highway", "SeaLake")


@dataclass
class _Written:
    """What was drawn: (file relative to the image folder, label) in each split."""

    images: Path
    rows: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


def build_layout(
    name: str, root: Path, *, per_class: int = 3, official: bool = False, flat: bool = False
) -> Path:
    """Write a miniature of ``name`` under ``root``, the folder of all data sets; returns ``root``.

    Each class of each split has ``per_class`` pictures. ``official`` writes the authors' own lists
    (`WITH_LISTS`) in the place of the community's split file; ``flat`` leaves the validation
    pictures of ImageNet unsorted, as they are downloaded. The variants of ImageNet bring its list
    of names with them.
    """
    if name in WITHOUT_VAL:
        return _imagenets(name, root, per_class, flat)
    images, place = _PLACES[name]
    written = _Written(root / images)
    number = 0
    for split in SPLITS:
        rows = written.rows.setdefault(split, [])
        for label in range(len(PUBLISHED[name])):
            for _ in range(per_class):
                number += 1
                path = place(label, number, split)
                draw(written.images / path, label, number)
                rows.append((path, label))
    if name in _LISTS and (official or name == "fgvc_aircraft"):
        _LISTS[name](root, written)
    else:
        _split_file(name, root, written)
    return root


def draw(file: Path, label: int, number: int) -> None:
    """Write a tiny noisy picture whose shade tells its class."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = random.Random(f"{label}/{number}").randbytes(3 * SIDE * SIDE)
    shade = Image.new("RGB", (SIDE, SIDE), SHADES[label % len(SHADES)])
    Image.blend(shade, Image.frombytes("RGB", (SIDE, SIDE), noise), 0.2).save(file)


def _split_file(name: str, root: Path, written: _Written) -> None:
    splits = {
        split: [[path, label, PUBLISHED[name][label]] for path, label in rows]
        for split, rows in written.rows.items()
    }
    (root / _SPLIT_FILES[name]).write_text(json.dumps(splits))


def _imagenets(name: str, root: Path, per_class: int, flat: bool) -> Path:
    folders = {
        "imagenet": {"train": "imagenet/images/train", "val": "imagenet/images/val"},
        "imagenetv2": {"val": "imagenetv2/imagenetv2-matched-frequency-format-val"},
        "imagenet_sketch": {"sketch": "imagenet-sketch/images"},
        "imagenet_a": {"a": "imagenet-adversarial/imagenet-a"},
        "imagenet_r": {"r": "imagenet-rendition/imagenet-r"},
    }[name]
    number = 0
    for split, folder in folders.items():
        for title in PUBLISHED[name]:
            label = PUBLISHED["imagenet"].index(title)
            inside = str(label) if name == "imagenetv2" else WNIDS[label]
            for _ in range(per_class):
                number += 1
                file = f"ILSVRC2012_val_{number:08d}.JPEG" if flat else f"{split}_{number}.JPEG"
                draw(
                    root / folder / ("" if flat and split == "val" else inside) / file,
                    label,
                    number,
                )
    if name in ("imagenet_a", "imagenet_r"):
        (root / next(iter(folders.values())) / "README.txt").write_text("about these pictures")
    lines = [f"{w} {n}\n" for w, n in zip(WNIDS, PUBLISHED["imagenet"], strict=True)]
    home = root / next(iter(folders.values())).partition("/")[0]
    (home / "classnames.txt").write_text("".join(lines))
    return root


def _aircraft(root: Path, written: _Written) -> None:
    home = root / "fgvc_aircraft"
    (home / "variants.txt").write_text("".join(f"{v}\n" for v in PUBLISHED["fgvc_aircraft"]))
    for split, rows in written.rows.items():
        lines = [f"{Path(p).stem} {PUBLISHED['fgvc_aircraft'][label]}\n" for p, label in rows]
        (home / f"images_variant_{split}.txt").write_text("".join(lines))


def _pets(root: Path, written: _Written) -> None:
    folder = root / "oxford_pets" / "annotations"
    folder.mkdir()
    for file, splits in (("trainval.txt", ("train", "val")), ("test.txt", ("test",))):
        rows = [row for split in splits for row in written.rows[split]]
        lines = [f"{Path(path).stem} {label + 1} 1 1\n" for path, label in rows]
        (folder / file).write_text("".join(lines))


def _food(root: Path, written: _Written) -> None:
    folder = root / "food-101" / "meta"
    folder.mkdir()
    (folder / "classes.txt").write_text("\n".join(PUBLISHED["food101"]))
    for file, splits in (("train.txt", ("train", "val")), ("test.txt", ("test",))):
        lines = [path.removesuffix(".jpg") for split in splits for path, _ in written.rows[split]]
        (folder / file).write_text("\n".join(lines))


def _sun(root: Path, written: _Written) -> None:
    folder = root / "sun397"
    (folder / "ClassName.txt").write_text("".join(f"{name}\n" for name in _SUN))
    for file, splits in (("Training_01.txt", ("train", "val")), ("Testing_01.txt", ("test",))):
        lines = [f"/{path}\n" for split in splits for path, _ in written.rows[split]]
        (folder / file).write_text("".join(lines))


def _dtd(root: Path, written: _Written) -> None:
    folder = root / "dtd" / "labels"
    folder.mkdir()
    for split, rows in written.rows.items():
        (folder / f"{split}1.txt").write_text("".join(f"{path}\n" for path, _ in rows))


def _ucf(root: Path, written: _Written) -> None:
    folder = root / "ucf101" / "ucfTrainTestlist"
    folder.mkdir()
    names = [name.replace("_", "") for name in PUBLISHED["ucf101"]]
    lines = [f"{label} {name}\n" for label, name in enumerate(names, start=1)]
    (folder / "classInd.txt").write_text("".join(lines))
    for file, splits in (("trainlist01.txt", ("train", "val")), ("testlist01.txt", ("test",))):
        rows = [row for split in splits for row in written.rows[split]]
        said = [f"{names[label]}/{Path(path).stem}.avi" for path, label in rows]
        numbers = [f" {label + 1}" if "train" in file else "" for _, label in rows]
        (folder / file).write_text("".join(f"{a}{b}\n" for a, b in zip(said, numbers, strict=True)))


def _ucf_path(label: int, number: int) -> str:
    name = PUBLISHED["ucf101"][label]
    return f"{name}/v_{name.replace('_', '')}_g{number:02d}_c01.jpg"


_LISTS: dict[str, Callable[[Path, _Written], None]] = {
    "fgvc_aircraft": _aircraft,
    "oxford_pets": _pets,
    "food101": _food,
    "sun397": _sun,
    "dtd": _dtd,
    "ucf101": _ucf,
}
# the image folder, and a picture's path in it by label, number and split
_PLACES: dict[str, tuple[str, Callable[[int, int, str], str]]] = {
    "caltech101": (
        "caltech-101/101_ObjectCategories",
        lambda label, n, _: f"{_CALTECH[label]}/image_{n:04d}.jpg",
    ),
    "oxford_pets": ("oxford_pets/images", lambda label, n, _: f"{_PETS[label]}_{n}.jpg"),
    "stanford_cars": (
        "stanford_cars",
        lambda _, n, split: f"cars_{'test' if split == 'test' else 'train'}/{n:05d}.jpg",
    ),
    "oxford_flowers": ("oxford_flowers/jpg", lambda _, n, __: f"image_{n:05d}.jpg"),
    "food101": ("food-101/images", lambda label, n, _: f"{PUBLISHED['food101'][label]}/{n}.jpg"),
    "fgvc_aircraft": ("fgvc_aircraft/images", lambda _, n, __: f"{n:07d}.jpg"),
    "sun397": ("sun397/SUN397", lambda label, n, _: f"{_SUN[label][1:]}/sun_{n}.jpg"),
    "dtd": (
        "dtd/images",
        lambda label, n, _: f"{PUBLISHED['dtd'][label]}/{PUBLISHED['dtd'][label]}_{n:04d}.jpg",
    ),
    "eurosat": ("eurosat/2750", lambda label, n, _: f"{_EUROSAT[label]}/{_EUROSAT[label]}_{n}.jpg"),
    "ucf101": ("ucf101/UCF-101-midframes", lambda label, n, _: _ucf_path(label, n)),
}
