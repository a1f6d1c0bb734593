"""What is there of a data set: files counted against the official counts, and what to do."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffuprompt.data.catalog import CATALOG, SCENE_STYLES, image_places, names, open_entry
from diffuprompt.data.class_names import short
from diffuprompt.data.halves import HALVES, WHOLE, half_of
from diffuprompt.data.locate import data_folders
from diffuprompt.data.manifest import SPLITS, Manifest, Split
from diffuprompt.data.registry import registered
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import DataError, near_miss

State = Literal["complete", "differs", "unusable", "missing"]
USABLE: tuple[State, ...] = ("complete", "differs")
MAX_NAMES = 10


@dataclass(frozen=True, kw_only=True)
class Count:
    """Files of one split: there, listed, and in the official data set (None: nobody says)."""

    split: Split
    there: int
    listed: int
    official: int | None


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found of one data set.

    Attributes:
        name: as it is asked for.
        state: "complete" as published, "differs" from it but usable, "unusable" as it lies, or
            "missing" altogether.
        root: the folder of its pictures, None where there is none.
        classes: how many it has.
        counts: by split, empty where nothing could be opened.
        problems: what is wrong or different, one line or paragraph each.
    """

    name: str
    state: State
    root: Path | None = None
    classes: int = 0
    counts: tuple[Count, ...] = ()
    problems: tuple[str, ...] = ()


def inspect_dataset(name: str, root: Path | None = None) -> Inspection:
    """Look at a data set of the catalog, or of the user's own names; no picture is opened.

    Args:
        name: one of `catalog.names` or of `registered`.
        root: folder of the published data sets; see `data_folders`.

    Raises:
        DataError: there is no such name.
    """
    entry = CATALOG.get(WHOLE if name in HALVES else name)
    if entry is not None:
        try:
            manifest = open_entry(entry, data_folders(root))
            return _counted(name, half_of(manifest, name) if name in HALVES else manifest)
        except DataError as error:
            there = next((path for path in image_places(entry, root) if path.is_dir()), None)
            state: State = "unusable" if there is not None else "missing"
            return Inspection(name=name, state=state, root=there, problems=(str(error),))
    known = (*SCENE_STYLES, *registered())
    if name not in known:
        every = (*names(), *registered())
        hint = near_miss(name, every)
        raise DataError(f"unknown data set {short(name)}.{hint} Known: {', '.join(every)}")
    try:
        return _counted(name, open_dataset(name, check=False))
    except DataError as error:
        return Inspection(name=name, state="unusable", problems=(str(error),))


def _counted(name: str, manifest: Manifest) -> Inspection:
    """Count the files of a data set that opens."""
    counts: list[Count] = []
    problems: list[str] = []
    entry = CATALOG.get(name)
    official = dict(zip(SPLITS, entry.sizes, strict=True)) if entry is not None else {}
    if entry is not None and manifest.name != entry.name:
        problems.append(
            f"{entry.split_file} is missing, so the authors' own lists are read: other images than "
            "the benchmark's. DATASETS.md of CoOp's repository names the file"
        )
        official = {}
    lost = Counter[int]()
    for split, items in manifest.splits.items():
        absent = [i.label for i in items if not os.path.isfile(manifest.root / i.path)]
        lost.update(absent)
        counts.append(
            Count(
                split=split,
                there=len(items) - len(absent),
                listed=len(items),
                official=official.get(split),
            )
        )
    usable = not lost and any(count.split == "test" and count.there for count in counts)
    problems += _lost(manifest, lost)
    problems += _differences(counts)
    if entry is not None and len(manifest.classes) != entry.num_classes:
        problems.append(f"{len(manifest.classes)} classes, officially {entry.num_classes}")
    if not manifest.splits["test"]:
        problems.append("there are no test images")
    train = not manifest.splits["train"] and (entry is None or entry.sizes[0] > 0)
    if train:
        problems.append("there are no training images, so it can only be tested on")
    state: State = "unusable" if not usable else "differs" if problems else "complete"
    return Inspection(
        name=name,
        state=state,
        root=manifest.root,
        classes=len(manifest.classes),
        counts=tuple(counts),
        problems=tuple(problems),
    )


def _lost(manifest: Manifest, lost: Counter[int]) -> list[str]:
    """Say how many files are not there, and of which classes."""
    if not lost:
        return []
    named = [f"{manifest.classes[label]} ({many})" for label, many in lost.most_common(MAX_NAMES)]
    more = f" and {len(lost) - MAX_NAMES} more" if len(lost) > MAX_NAMES else ""
    return [
        f"{lost.total()} files are missing in {len(lost)} classes: {', '.join(named)}{more}; "
        "unpack the archive again"
    ]


def _differences(counts: list[Count]) -> list[str]:
    return [
        f"{count.split}: {count.listed} images, officially {count.official}"
        for count in counts
        if count.official is not None and count.listed != count.official
    ]
