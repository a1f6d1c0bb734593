"""Data sets that are folders: a sub folder per class, or train/[val/]test with such sub folders."""

from __future__ import annotations

import hashlib
import logging
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffuprompt.data.kinds import (
    find_pictures,
    is_hidden,
    is_meant,
    is_text_path,
    left_out,
    suffixes,
    undecodable,
)
from diffuprompt.data.manifest import MAX_SHOWN, Item, Manifest, Split
from diffuprompt.data.paths import Places
from diffuprompt.errors import DataError, near_miss

log = logging.getLogger(__name__)

SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def read_folder(root: Path, *, allow_outside: bool = False) -> Manifest:
    """Read a folder with one sub folder per class, or with train/[val/]test sub folders of those.

    It has splits when it holds ``train`` and ``test`` (any case; ``valid`` and ``validation`` mean
    val), or nothing but split folders; ``test`` alone is a data set to test on. Without splits,
    `hash_split` makes them. Classes are the sub folders (of ``train``, if there is one) in sorted
    order, by their names in NFC; images in deeper folders belong to the class above them. Links
    must stay inside ``root`` unless ``allow_outside``. Raises `DataError` for images outside any
    class folder, image formats that cannot be read, names that are no text, a missing test folder
    and a class that train does not have.
    """
    places = Places(root, allow_outside=allow_outside)
    folders = {entry.name: entry for entry in _sub_folders(root)}
    as_split = {SPLIT_NAMES[n.lower()]: p for n, p in folders.items() if n.lower() in SPLIT_NAMES}
    only_splits = sum(n.lower() in SPLIT_NAMES for n in folders) == len(folders)
    if as_split and (only_splits or {"train", "test"} <= set(as_split)):
        return _read_split_folders(places, root, folders, as_split)
    return _read_class_folders(places, root, list(folders))


def _read_class_folders(places: Places, root: Path, folders: list[str]) -> Manifest:
    _reject_loose_images(root)
    if not folders:
        raise DataError(f"{root}: expected one sub folder per class, found none")
    found = _scan(places, root, folders)
    rows = [(path, label) for label, paths in enumerate(found) for path in paths]
    return Manifest(root.resolve().name, root, tuple(map(_nfc, folders)), hash_split(rows))


def _read_split_folders(
    places: Places, root: Path, folders: dict[str, Path], at: dict[Split, Path]
) -> Manifest:
    if "test" not in at:
        fix = "add one, or rename the val folder when its images are the test images"
        raise DataError(f"{root}: no test folder beside {sorted(folders)}; {fix}")
    ignored = sorted(set(folders) - {path.name for path in at.values()})
    if ignored:
        log.warning("%s: it has split folders, so ignoring the others: %s", root, ignored)
    names = [_nfc(path.name) for path in _sub_folders(at["train" if "train" in at else "test"])]
    splits: dict[str, tuple[Item, ...]] = {}
    problems = []
    for split, folder in at.items():
        _reject_loose_images(folder)
        inside = [path.name for path in _sub_folders(folder)]
        for name in sorted(set(map(_nfc, inside)) - set(names)):
            hint = near_miss(name, names)
            of = "train" if "train" in at else "test"
            problems.append(f"class {name!r} is in {folder.name} but not in {of}.{hint}")
        of_class: dict[str, list[str]] = {}
        paths = _scan(places, root, [f"{folder.name}/{n}" for n in inside])
        for name, more in zip(inside, paths, strict=True):
            of_class.setdefault(_nfc(name), []).extend(more)
        splits[split] = tuple(
            Item(path, label) for label, name in enumerate(names) for path in of_class.get(name, ())
        )
    if problems:
        lines = "\n  ".join(problems)
        raise DataError(f"{root}: a class to test on must be one to train on\n  {lines}")
    return Manifest(root.resolve().name, root, tuple(names), splits)


def _nfc(name: str) -> str:
    """Return a name in one Unicode form: the same folder is stored in another on some systems."""
    return unicodedata.normalize("NFC", name)


def hash_split(rows: Sequence[tuple[str, int]]) -> dict[str, tuple[Item, ...]]:
    """Split ``(path, label)`` rows about 50/20/30 into train, val and test, the same every time.

    Each image's place follows from the sha256 of its relative path alone, so adding or removing
    images moves no other image between train and test (the shares are therefore approximate).
    Two exceptions keep small classes usable: a class without a train image gets its
    lowest-hashed one, and a class of two or more without a test image gives its highest-hashed
    one. Rows keep their order within a split.
    """
    place: dict[str, Split] = {}
    groups: dict[int, list[tuple[float, str]]] = {}
    for path, label in rows:
        groups.setdefault(label, []).append((_unit(path), path))
    for group in groups.values():
        group.sort()
        for unit, path in group:
            place[path] = "train" if unit < 0.5 else "val" if unit < 0.7 else "test"
        place[group[0][1]] = "train"
        if len(group) > 1:
            place[group[-1][1]] = "test"
    splits: dict[str, list[Item]] = {"train": [], "val": [], "test": []}
    for path, label in rows:
        splits[place[path]].append(Item(path, label))
    return {split: tuple(items) for split, items in splits.items()}


def _unit(path: str) -> float:
    digest = hashlib.sha256(_nfc(path).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _inside(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not is_hidden(path.name)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _sub_folders(folder: Path) -> list[Path]:
    found = sorted(p for p in _inside(folder) if os.path.isdir(p))
    broken = [undecodable(path) for path in found if not is_text_path(path.name)]
    if broken:
        raise DataError("\n  ".join(broken[:MAX_SHOWN]))
    return found


def _scan(places: Places, root: Path, folders: Sequence[str]) -> list[list[str]]:
    """Return the sorted posix paths, relative to ``root``, of the images in each folder."""
    found: list[list[str]] = []
    meant: list[str] = []
    others: list[Path] = []
    for folder in folders:
        inside = find_pictures(root / folder)
        found.append(sorted(path.relative_to(root).as_posix() for path in inside.pictures))
        meant += [path.relative_to(root).as_posix() for path in inside.meant]
        others += inside.others
    outside = [problem for paths in found for path in paths if (problem := places.problem(path))]
    if outside:
        more = [f"... and {len(outside) - MAX_SHOWN} more"] if len(outside) > MAX_SHOWN else []
        lines = "\n  ".join([*outside[:MAX_SHOWN], *more])
        raise DataError(f"{root}: {len(outside)} problem(s)\n  {lines}")
    if meant:
        shown = "\n  ".join(meant[:MAX_SHOWN])
        raise DataError(
            f"{root}: {len(meant)} image(s) in a format that cannot be read; convert to "
            f"JPEG or PNG, or remove:\n  {shown}" + ("\n  ..." if len(meant) > MAX_SHOWN else "")
        )
    if others:
        log.warning("%s: %s", root, left_out(others))
    return found


def _reject_loose_images(folder: Path) -> None:
    files = [p for p in _inside(folder) if os.path.isfile(p)]
    loose = sorted(p.name for p in files if p.suffix.lower() in suffixes() or is_meant(p))
    if loose:
        raise DataError(
            f"{folder}: {len(loose)} image(s) outside any class folder, e.g. {loose[0]}; "
            "move each into a sub folder named after its class"
        )
