"""FGVCAircraft's own lists: ``variants.txt`` and ``images_variant_{train,val,test}.txt``."""

from __future__ import annotations

from pathlib import Path

from diffuprompt.data.manifest import SPLITS, Item, Manifest
from diffuprompt.data.paths import Places
from diffuprompt.errors import DataError
from diffuprompt.reading import read_text

FILES = ("variants.txt", *(f"images_variant_{split}.txt" for split in SPLITS))


def read_aircraft(folder: Path) -> Manifest:
    """Read the official lists in ``folder``; a line is ``<image number> <variant>``.

    Classes are in the order of ``variants.txt``, images are ``images/<number>.jpg``. Raises
    `DataError` for every line whose variant is unknown or whose image lies outside ``folder``.
    """
    classes = tuple(_lines(folder / FILES[0]))
    label_of = {name: label for label, name in enumerate(classes)}
    places = Places(folder, allow_links=True)
    splits: dict[str, tuple[Item, ...]] = {}
    problems = []
    for split, name in zip(SPLITS, FILES[1:], strict=True):
        items = []
        for number, line in enumerate(_lines(folder / name), start=1):
            image, _, variant = line.partition(" ")
            if variant not in label_of:
                problems.append(f"{name} line {number}: variant {variant!r} is not in {FILES[0]}")
            else:
                path, problem = places.find(f"images/{image}.jpg")
                if problem:
                    problems.append(f"{name} line {number}: {problem}")
                items.append(Item(path, label_of[variant]))
        splits[split] = tuple(items)
    if problems:
        raise DataError(f"{folder}: {len(problems)} problem(s)\n  " + "\n  ".join(problems[:20]))
    return Manifest("fgvc_aircraft", folder, classes, splits)


def _lines(file: Path) -> list[str]:
    lines = read_text(file, error=DataError).splitlines()
    return [line.strip() for line in lines if line.strip()]
