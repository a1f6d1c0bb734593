"""Data sets that come with lists of train and test images: the authors' own splits.

The benchmark tests on other images of Food101 and DTD, and takes a random part of the training
images of all five for validation: only the community's split file says which. So what is read here
is another data set, ``<name>-official``, that no table puts beside the benchmark's numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.data.manifest import MAX_SHOWN, Item, Manifest, Split
from diffuprompt.data.paths import Places
from diffuprompt.errors import DataError
from diffuprompt.reading import read_text

OFFICIAL = "-official"  # what such a data set is called, after its name in the catalog
Row = tuple[Split, str, str]  # split, path in the image folder, class
Reader = Callable[[Path], tuple[tuple[str, ...], Iterator[Row]]]


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The lists of one data set, relative to its folder, and how they are read."""

    files: tuple[str, ...]
    read: Reader


def read_lists(name: str, home: Path, images: Path) -> Manifest:
    """Read the lists of ``name`` in ``home``; the pictures are in ``images``.

    Raises `DataError` with every line whose class is unknown or whose image lies elsewhere.
    """
    classes, rows = LISTS[name].read(home)
    label_of = {text: label for label, text in enumerate(classes)}
    places = Places(images, allow_links=True)
    splits: dict[str, list[Item]] = {"train": [], "val": [], "test": []}
    problems = []
    for split, text, class_name in rows:
        path, problem = places.find(text)
        if class_name not in label_of:
            problem = f"{text}: class {class_name!r} is in no list of classes"
        if problem:
            problems.append(f"{split}: {problem}")
        else:
            splits[split].append(Item(path, label_of[class_name]))
    if problems:
        shown = "\n  ".join(problems[:MAX_SHOWN])
        raise DataError(f"{home}: {len(problems)} problem(s)\n  {shown}")
    fixed = {split: tuple(items) for split, items in splits.items()}
    return Manifest(name + OFFICIAL, images, classes, fixed)


def _pets(home: Path) -> tuple[tuple[str, ...], Iterator[Row]]:
    """``<Breed>_<n> <class from 1> ...``; the name of a class is the breed in lower case."""
    files: tuple[tuple[Split, str], ...] = (("train", "trainval.txt"), ("test", "test.txt"))
    rows: list[Row] = []
    number_of: dict[str, int] = {}
    for split, file in files:
        for line in _lines(home / "annotations" / file):
            image, _, rest = line.partition(" ")
            breed = image.rpartition("_")[0].lower()
            number = rest.split()[0] if rest.split() else ""
            if not breed or not number.isdecimal():
                raise DataError(f"{home / 'annotations' / file}: not a line of this list: {line}")
            number_of.setdefault(breed, int(number))
            rows.append((split, f"{image}.jpg", breed))
    return tuple(sorted(number_of, key=lambda breed: number_of[breed])), iter(rows)


def _food(home: Path) -> tuple[tuple[str, ...], Iterator[Row]]:
    """``<class>/<n>``; classes are the folders, sorted."""
    files: tuple[tuple[Split, str], ...] = (("train", "train.txt"), ("test", "test.txt"))
    rows: list[Row] = [
        (split, f"{line}.jpg", line.partition("/")[0])
        for split, file in files
        for line in _lines(home / "meta" / file)
    ]
    return tuple(sorted({name for _, _, name in rows})), iter(rows)


def _dtd(home: Path) -> tuple[tuple[str, ...], Iterator[Row]]:
    """``<class>/<file>``, the first of ten splits; classes are the folders, sorted."""
    names: tuple[Split, ...] = ("train", "val", "test")
    rows: list[Row] = [
        (split, line, line.partition("/")[0])
        for split in names
        for line in _lines(home / "labels" / f"{split}1.txt")
    ]
    return tuple(sorted({name for _, _, name in rows})), iter(rows)


def _sun(home: Path) -> tuple[tuple[str, ...], Iterator[Row]]:
    """``/<letter>/<a>/<b>/<file>``, the first of ten splits; the name of ``/l/a/b`` is "b a"."""
    files: tuple[tuple[Split, str], ...] = (
        ("train", "Training_01.txt"),
        ("test", "Testing_01.txt"),
    )
    classes = tuple(_sun_name(line) for line in _lines(home / "ClassName.txt"))
    rows: Iterator[Row] = (
        (split, line.removeprefix("/"), _sun_name(line.rpartition("/")[0]))
        for split, file in files
        for line in _lines(home / file)
    )
    return classes, rows


def _sun_name(folder: str) -> str:
    return " ".join(reversed(folder.strip("/").split("/")[1:]))


def _ucf(home: Path) -> tuple[tuple[str, ...], Iterator[Row]]:
    """``<Class>/<video>.avi``, the first of three splits, of which the middle frames are read."""
    files: tuple[tuple[Split, str], ...] = (
        ("train", "trainlist01.txt"),
        ("test", "testlist01.txt"),
    )
    folder = home / "ucfTrainTestlist"
    names = [line.rpartition(" ")[2] for line in _lines(folder / "classInd.txt")]
    rows: list[Row] = []
    for split, file in files:
        for line in _lines(folder / file):
            action, _, video = line.partition(" ")[0].partition("/")
            name = _ucf_name(action)
            rows.append((split, f"{name}/{video.removesuffix('.avi')}.jpg", name))
    return tuple(map(_ucf_name, names)), iter(rows)


def _ucf_name(name: str) -> str:
    return "_".join(re.findall("[A-Z][^A-Z]*", name))


def _lines(file: Path) -> list[str]:
    lines = read_text(file, error=DataError).splitlines()
    return [line.strip() for line in lines if line.strip()]


LISTS: dict[str, Lists] = {
    "oxford_pets": Lists(files=("annotations/trainval.txt", "annotations/test.txt"), read=_pets),
    "food101": Lists(files=("meta/train.txt", "meta/test.txt"), read=_food),
    "sun397": Lists(files=("ClassName.txt", "Training_01.txt", "Testing_01.txt"), read=_sun),
    "dtd": Lists(files=tuple(f"labels/{s}1.txt" for s in ("train", "val", "test")), read=_dtd),
    "ucf101": Lists(
        files=tuple(
            f"ucfTrainTestlist/{file}"
            for file in ("classInd.txt", "trainlist01.txt", "testlist01.txt")
        ),
        read=_ucf,
    ),
}
