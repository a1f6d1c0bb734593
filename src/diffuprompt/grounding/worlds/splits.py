"""Which pictures of a JSON file of annotations belong to a split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffuprompt.errors import DataError, near_miss

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


def chosen_files(images: Sequence[Any], path: Path, split: str) -> set[str]:
    """Return the names of the pictures of a split.

    What decides is the "split" of the images, where any has one; else the name of the file, which
    then holds one split; else chance: of every ten pictures, in the order of a hash of their names,
    the second is for validation, the third for testing, and "all" are all.

    Args:
        images: the "images" of a JSON file; whatever is malformed is left to others.
        path: that file.
        split: asked for.

    Raises:
        DataError: there is no such split, or a "split" that is none.
    """
    rows = [one for one in images if isinstance(one, dict)]
    good = [row for row in rows if isinstance(row.get("file_name"), str)]
    if any("split" in one for one in good):
        return _told(good, path, split)
    names = {one["file_name"] for one in good}
    of_file = split_of_name(path)
    if of_file is not None:
        check_split(split, [of_file, "all"], path)
        return names
    check_split(split, OWN, path)
    if split == "all":
        return names
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    dealt = {1: "val", 2: "test"}
    return {name for i, name in enumerate(order) if dealt.get(i % 10, "train") == split}


def _told(images: Sequence[dict[str, Any]], path: Path, split: str) -> set[str]:
    """Return the pictures whose "split" is the one asked for; each picture has one."""
    found: dict[str, str] = {}
    for one in images:
        name, said = one["file_name"], one.get("split")
        if said not in SPLITS:
            hint = f"expected one of {', '.join(SPLITS)}, as other images have"
            raise DataError(f"{path}: image {name[:80]!r} has split {said!r:.80}; {hint}")
        if found.setdefault(name, said) != said:
            raise DataError(f"{path}: image {name[:80]!r} is in {found[name]} and in {said}")
    check_split(split, [*dict.fromkeys(found.values()), "all"], path)
    return {name for name, said in found.items() if split in (said, "all")}
