"""ImageNet and its four variants: a folder for each class, called by its WordNet id or its number.

Files are taken in sorted order. The released code of the benchmark takes them as the file system
lists them, so that its few-shot subsets of ImageNet differ between machines; these do not.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.data.kinds import find_pictures, suffixes
from diffuprompt.data.manifest import MAX_SHOWN, Item, Manifest
from diffuprompt.data.official.wordnet import WNID, read_wordnet_names
from diffuprompt.errors import DataError
from diffuprompt.reading import read_text

KAGGLE = "LOC_val_solution.csv"


@dataclass(frozen=True, kw_only=True)
class ImageNetPlaces:
    """Where a data set of this family lies: its pictures, and the list of ImageNet's names."""

    name: str
    images: Path
    names: Path


def read_imagenet(places: ImageNetPlaces) -> Manifest:
    """Read ``train/<id>/`` and ``val/<id>/``; the benchmark tests on the validation images.

    Each of the two folders may be missing: without ``train`` it is a data set to test on. Labels
    are the rank of the ids in sorted order, names those of the list. A ``val`` whose pictures are
    not sorted into classes is read where Kaggle's ``LOC_val_solution.csv`` lies near it. Raises
    `DataError` for folders that the list does not name, and says what to do with a validation
    folder that nothing sorts.
    """
    names = read_wordnet_names(places.names)
    train, val = places.images / "train", places.images / "val"
    found = {"train": _ids(train), "test": _ids(val)}
    flat = not found["test"] and val.is_dir()
    unsorted = list(_unsorted(places.images, val)) if flat else []
    wnids = found["train"] or found["test"] or sorted({wnid for _, wnid in unsorted})
    _check(places, wnids, names)
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    strangers = sorted({*found["test"], *(wnid for _, wnid in unsorted)} - set(label_of))
    if strangers:
        raise DataError(f"{val}: classes {strangers[:MAX_SHOWN]} are not in {train}")
    splits = {
        split: tuple(
            Item(f"{folder.name}/{wnid}/{path}", label_of[wnid])
            for wnid in found[split]
            for path in _pictures(folder / wnid)
        )
        for split, folder in (("train", train), ("test", val))
    }
    if flat:
        splits["test"] = tuple(Item(f"val/{file}", label_of[wnid]) for file, wnid in unsorted)
    return Manifest(places.name, places.images, tuple(names[wnid] for wnid in wnids), splits)


def read_variant(places: ImageNetPlaces, *, numbered: bool = False) -> Manifest:
    """Read a variant that is tested on: ``<id>/`` for each class, or ``<0..999>/`` if ``numbered``.

    Of a numbered one the folder's number is the place of the name in the list, and all names are
    classes. Otherwise the ids that are there, sorted, are the classes: ImageNet-A and -R choose
    among their own 200 names. Raises `DataError` for folders that the list does not name.
    """
    names = read_wordnet_names(places.names)
    root = places.images
    if numbered:
        inside = _folders(root)
        wrong = [n for n in inside if not n.isdecimal() or int(n) >= len(names)]
        if wrong:
            raise DataError(
                f"{root}: expected folders 0 to {len(names) - 1}, the places of the names in "
                f"{places.names}; got {wrong[:MAX_SHOWN]}"
            )
        classes = tuple(names.values())
        folders = sorted(((int(n), n) for n in inside), key=lambda pair: pair[0])
    else:
        wnids = _ids(root)
        _check(places, wnids, names)
        classes = tuple(names[wnid] for wnid in wnids)
        folders = list(enumerate(wnids))
    items = tuple(
        Item(f"{folder}/{path}", label)
        for label, folder in folders
        for path in _pictures(root / folder)
    )
    return Manifest(places.name, root, classes, {"test": items})


def _check(places: ImageNetPlaces, wnids: Sequence[str], names: dict[str, str]) -> None:
    if not wnids:
        archives = sorted(places.images.glob("**/*.tar"))[:1]
        hint = f"; unpack {archives[0]} and its like, each into a folder" if archives else ""
        raise DataError(
            f"{places.images}: expected folders that are called by WordNet ids (n01440764){hint}"
        )
    unknown = [wnid for wnid in wnids if wnid not in names]
    if unknown:
        shown = ", ".join(unknown[:MAX_SHOWN])
        raise DataError(f"{places.names}: no name for {len(unknown)} folders: {shown}")


def _folders(folder: Path) -> list[str]:
    """Return the visible sub folders, sorted; nothing where ``folder`` is none itself."""
    if not folder.is_dir():
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _ids(folder: Path) -> list[str]:
    return [name for name in _folders(folder) if WNID.fullmatch(name)]


def _pictures(folder: Path) -> list[str]:
    start = len(str(folder)) + 1  # cutting is ten times as fast as Path.relative_to
    return sorted(path.as_posix()[start:] for path in find_pictures(folder).pictures)


def _unsorted(images: Path, val: Path) -> Iterator[tuple[str, str]]:
    """Yield file and WordNet id of validation pictures that lie directly in ``val``."""
    files = sorted(path.name for path in val.iterdir() if path.suffix.lower() in suffixes())
    if not files:
        return
    homes = (val, images, *images.parents[:3])
    solution = next((home / KAGGLE for home in homes if (home / KAGGLE).is_file()), None)
    if solution is None:
        raise DataError(
            f"{val}: {len(files)} pictures lie directly in this folder, e.g. {files[0]}. This is "
            "the validation archive as it is downloaded: it does not say the classes. Move each "
            "picture into a folder called by the WordNet id of its class (val/n01440764/...): the "
            "development kit lists the ids, and scripts called valprep do it; or put Kaggle's "
            f"{KAGGLE} into {images}, and the pictures are read as they lie"
        )
    class_of = dict(_solution(solution))
    missing = [file for file in files if Path(file).stem not in class_of]
    if missing:
        raise DataError(f"{solution}: no line for {len(missing)} pictures, e.g. {missing[0]}")
    yield from ((file, class_of[Path(file).stem]) for file in files)


def _solution(file: Path) -> Iterator[tuple[str, str]]:
    """Yield image and WordNet id; a line is ``<image>,<id> <box> [<id> <box> ...]``."""
    for row in csv.reader(read_text(file, error=DataError).splitlines()):
        if len(row) == 2 and WNID.match(row[1]):
            yield row[0], row[1].split()[0]
