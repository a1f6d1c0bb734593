"""The community's split files, ``split_zhou_<Name>.json`` (CoOp, arXiv 2109.01134)."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

from diffuprompt.data.manifest import MAX_SHOWN, SPLITS, Item, Manifest
from diffuprompt.data.paths import Places, root_of
from diffuprompt.errors import DataError, writing
from diffuprompt.reading import read_json

PREFIX = "split_zhou_"


def read_split_file(
    file: Path,
    root: Path | None = None,
    name: str | None = None,
    *,
    allow_outside: bool = False,
    allow_links: bool = False,
) -> Manifest:
    """Read ``{"train": [[path, label, class name], ...], "val": ..., "test": ...}``.

    Paths are relative to ``root``, the image folder (by default the file's own folder), and must
    stay inside it unless ``allow_outside``; ``allow_links`` is of links alone. Classes are the
    names in train by label; a file without train rows is a data set to test on, and they are the
    names in test. Raises one `DataError` with every malformed row, label with two names, unused
    label and label that train does not have.
    """
    data = read_json(file, error=DataError)
    if not isinstance(data, dict) or not {"test"} <= set(data) <= set(SPLITS):
        got = list(data)[:5] if isinstance(data, dict) else type(data).__name__
        raise DataError(f"{file}: expected an object with test, train and val, got {got}")
    no_list = [split for split, rows in data.items() if not isinstance(rows, list)]
    if no_list:
        raise DataError(f"{file}: expected a list of rows under {no_list}")
    if root is None:
        first_row = next((row for rows in data.values() for row in rows if _is_row(row)), [""])
        root = root_of(file, first_row[0])
    places = Places(root, allow_outside=allow_outside, allow_links=allow_links)
    problems: list[str] = []
    names: dict[int, str] = {}
    splits: dict[str, tuple[Item, ...]] = {}
    first = "train" if data.get("train") else "test"  # says the names
    for split in sorted(SPLITS, key=lambda split: split != first):
        items = []
        for number, row in enumerate(data.get(split, [])):
            if not _is_row(row):
                shown = json.dumps(row)[:80]
                problems.append(f"{split}[{number}]: expected [path, label, class], got {shown}")
                continue
            where, label, class_name = f"{split}[{number}]", row[1], _named(row[2])
            path, problem = places.find(row[0])
            if problem:
                problems.append(f"{where}: {problem}")
            if split != first and label not in names:
                problems.append(f"{where}: label {_shown(label)} ({class_name}) is not in {first}")
            elif names.setdefault(label, class_name) != class_name:
                both = f"{names[label]!r} and {class_name!r}"
                problems.append(f"{where}: label {_shown(label)} is called {both}")
            items.append(Item(path, label))
        splits[split] = tuple(items)
    unused = [label for label in range(len(names)) if label not in names]
    if unused:  # no list up to the greatest label, which may be any number
        most = f"the greatest is {_shown(max(names))}"
        what = f"labels {unused[:MAX_SHOWN]} are not used in {first}"
        problems.append(f"{what}, where {most}; number {len(names)} classes from 0")
    if problems:
        shown = "\n  ".join(problems[:MAX_SHOWN])
        more = len(problems) - MAX_SHOWN
        tail = f"\n  ... and {more} more" if more > 0 else ""
        raise DataError(f"{file}: {len(problems)} problem(s)\n  {shown}{tail}")
    classes = tuple(names[label] for label in sorted(names))
    name = file.stem.removeprefix(PREFIX) if name is None else name
    return Manifest(name, root, classes, splits)


def write_split_file(file: Path, manifest: Manifest) -> None:
    """Inverse of `read_split_file`: paths stay relative to ``manifest.root``.

    Raises `StorageError` where the file cannot be written.
    """
    rows = {
        split: [[item.path, item.label, manifest.classes[item.label]] for item in items]
        for split, items in manifest.splits.items()
    }
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, list)
        and [type(cell) for cell in row] == [str, int, str]
        and row[1] >= 0
        and bool(row[0])
    )


def _named(class_name: str) -> str:
    return unicodedata.normalize("NFC", class_name)


def _shown(label: int) -> str:
    return str(label) if label < 10**20 else f"of {len(str(label))} digits"
