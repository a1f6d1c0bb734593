"""Which pictures of a JSON file of annotations belong to a split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffuprompt.errors import DataError, near_miss
from diffuprompt.grounding.worlds.problems import Problems, shown

SPLITS = ("train", "val", "test", "testA", "testB")
OWN = ("train", "val", "test", "all")  # of a file that holds several


def split_of_name(path: Path) -> str | None:
    """Return the split that a file's name ends with, as in ``finetune_refcoco_testA.json``."""
    found = [split for split in SPLITS if path.stem == split or path.stem.endswith(f"_{split}")]
    return found[0] if found else None


def check_split(split: str, known: Sequence[str], where: object) -> None:
    """Raise a `DataError` that names the known splits when ``split`` is none of them."""
    if split not in known:
        there = f"{', '.join(known) or 'none'}.{near_miss(split, list(known))}"
        raise DataError(f"{where}: no split {split[:80]!r}; there are {there}")


def chosen_files(
    images: Mapping[str, dict[str, Any]], path: Path, split: str, problems: Problems
) -> set[str]:
    """Return the names of the pictures of a split.

    What decides is the "split" of the images, where any has one; else the name of the file, which
    then holds one split; else chance: of every ten pictures, in the order of a hash of their names,
    the second is for validation, the third for testing, and "all" are all.

    Args:
        images: of a JSON file, by id; those without a file name are left to others.
        path: that file.
        split: asked for.
        problems: where it is noted when an image has no good split, or a picture two.

    Raises:
        DataError: there is no such split.
    """
    good = {key: row for key, row in images.items() if isinstance(row.get("file_name"), str)}
    names = {row["file_name"] for row in good.values()}
    if any("split" in row for row in good.values()):
        told = _told(good, problems)
        check_split(split, [*dict.fromkeys(told.values()), "all"], path)
        return {name for name in names if split in (told.get(name), "all")}
    of_file = split_of_name(path)
    if of_file is not None:
        check_split(split, [of_file, "all"], path)
        return names
    check_split(split, OWN, path)
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    dealt = {1: "val", 2: "test"}
    return {n for i, n in enumerate(order) if split in (dealt.get(i % 10, "train"), "all")}


def _told(images: Mapping[str, dict[str, Any]], problems: Problems) -> dict[str, str]:
    """Return the split of each picture."""
    found: dict[str, str] = {}
    for key, row in images.items():
        said = row.get("split")
        if said not in SPLITS:
            what = f"split {shown(said)}; expected one of {', '.join(SPLITS)}, as other images have"
            problems.add(f"image {key}", what)
        elif found.setdefault(row["file_name"], said) != said:
            what = f"its picture is in {found[row['file_name']]} already, and in {said}"
            problems.add(f"image {key}", what)
    return found
