"""Objects cut out of Caltech101's photographs, and blurred photographs to put behind them.

Legend: H rows, W columns.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from diffuprompt.data import (
    data_folders,
    first_existing,
    homes,
    load_image,
    open_dataset,
    prompt_name,
)
from diffuprompt.errors import DataError
from diffuprompt.grounding.worlds.picture import Split
from diffuprompt.reading import read_json

FOLDER, INDEX, PHOTOS = "caltech101-cutouts", "index.json", "caltech101"
SIDE = 128  # pixels of a collage, and so of a background
LONGEST = 96  # pixels of the longer side of a kept cut-out; collages show it smaller
BLUR = 4.0  # radius in pixels: what lies behind is no object any more
# Classes that lie behind: places, plants and animals that are no cut-out and look like none.
BEHIND = ("cougar_body", "crocodile", "hawksbill", "joshua_tree", "leopard", "lotus", "minaret",
          "okapi", "pagoda", "pyramid", "water_lilly")  # fmt: skip
# A Windsor chair is a chair: names that nobody would tell apart are one name.
SAME = {"windsor chair": "chair"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Cutout:
    """One object: its name as people say it, and ``(H, W, 4)`` uint8, red, green, blue, alpha."""

    name: str
    rgba: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Cutouts:
    """The cut-outs of a split, and its backgrounds ``(SIDE, SIDE, 3)`` uint8, in fixed order."""

    items: tuple[Cutout, ...]
    backgrounds: tuple[np.ndarray, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted({item.name for item in self.items}))


def cutout_names(root: Path | None = None) -> tuple[str, ...]:
    """Return the names of all classes, sorted; raises `DataError` as `read_cutouts` does."""
    return tuple(sorted({_spoken(entry["name"]) for entry in _index(root)[1]}))


def cutouts_hash(root: Path | None = None) -> str:
    """Return sixteen hex digits over all that collages are made of: index, masks, photographs.

    Raises:
        DataError: as `read_cutouts` does.
    """
    folder, entries = _index(root)
    photos = open_dataset(PHOTOS, root=root)
    names = [[entry[k] for k in ("photo", "mask", "name", "split", "box")] for entry in entries]
    found = hashlib.sha256(json.dumps(names).encode())
    read = [folder / entry["mask"] for entry in entries]
    read += [photos.root / entry["photo"] for entry in entries]
    for split, items in sorted(photos.splits.items()):
        for item in items:
            if photos.classes[item.label] in BEHIND:
                found.update(f"{split} {item.path}".encode())
                read.append(photos.root / item.path)
    for path in read:
        try:
            found.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as cause:
            raise DataError(f"{path}: cannot be read ({cause.strerror}); restore it") from cause
    return found.hexdigest()[:16]


def read_cutouts(split: Split, root: Path | None = None) -> Cutouts:
    """Read the cut-outs of a split of the photographs.

    Args:
        split: of the official split, which the index repeats.
        root: folder of the data sets; None as in `data_folders`.

    Raises:
        DataError: files are missing, or the index is not one.
    """
    folder, entries = _index(root)
    photos = open_dataset(PHOTOS, root=root)
    known = {item.path for item in photos.splits[split]}
    items = []
    for entry in entries:
        if entry["split"] != split:
            continue
        if entry["photo"] not in known:
            raise DataError(
                f"{folder / INDEX}: {entry['photo']!r} is not in split {split!r} of {photos.name}; "
                "make the index again from the official split"
            )
        items.append(_cutout(folder, photos.root, entry))
    behind = [item for item in photos.splits[split] if photos.classes[item.label] in BEHIND]
    return Cutouts(
        items=tuple(items),
        backgrounds=tuple(_background(photos.root / item.path) for item in behind),
    )


def _index(root: Path | None) -> tuple[Path, list[dict[str, Any]]]:
    places = [home / INDEX for home in homes(data_folders(root), FOLDER)]
    (path,) = first_existing({f"{FOLDER}/{INDEX}": places})
    entries = read_json(path, error=DataError)
    wanted = {"photo": str, "mask": str, "name": str, "split": str, "box": list}
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of cut-outs, got {str(entries)[:80]}")
    for i, entry in enumerate(entries):
        good = isinstance(entry, dict) and all(
            isinstance(entry.get(k), kind) for k, kind in wanted.items()
        )
        if not good or len(entry["box"]) != 4 or any(type(v) is not int for v in entry["box"]):
            raise DataError(
                f"{path}: entry {i}: expected {', '.join(wanted)} (four whole numbers), "
                f"got {str(entry)[:80]}"
            )
    return path.parent, entries


def _spoken(name: str) -> str:
    text = prompt_name(name)
    return SAME.get(text, text)


def _cutout(folder: Path, photos: Path, entry: dict[str, Any]) -> Cutout:
    photo = load_image(photos / entry["photo"])
    with Image.open(folder / entry["mask"]) as file:
        mask = file.convert("L")
    if mask.size != photo.size:
        raise DataError(
            f"{folder / entry['mask']}: expected the photograph's size {photo.size}, "
            f"got {mask.size}"
        )
    photo.putalpha(mask)
    part = photo.crop(tuple(entry["box"]))
    part.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return Cutout(name=_spoken(entry["name"]), rgba=np.asarray(part).copy())


def _background(path: Path) -> np.ndarray:
    photo = load_image(path)
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    part = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    return np.asarray(part.filter(ImageFilter.GaussianBlur(BLUR))).copy()
