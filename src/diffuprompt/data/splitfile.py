"""The community's split files, ``split_zhou_<Name>.json`` (CoOp, arXiv 2109.01134)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffuprompt.data.manifest import MAX_SHOWN, SPLITS, Item, Manifest
from diffuprompt.errors import DataError

PREFIX = "split_zhou_"


def read_split_file(file: Path, root: Path | None = None, name: str | None = None) -> Manifest:
    """Read ``{"train": [[path, label, class name], ...], "val": ..., "test": ...}``.

    Paths are relative to ``root``, the image folder (by default the file's own folder). Classes
    are the names in train by label; a file without train rows is a data set to test on, and they
    are the names in test. Raises one `DataError` with every malformed row, label with
    two names, unused label and label that train does not have.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(data, dict) or not {"test"} <= set(data) <= set(SPLITS):
        got = list(data)[:5] if isinstance(data, dict) else type(data).__name__
        raise DataError(f"{file}: expected an object with test, train and val, got {got}")
    no_list = [split for split, rows in data.items() if not isinstance(rows, list)]
    if no_list:
        raise DataError(f"{file}: expected a list of rows under {no_list}")
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
            path, label, class_name = row
            if split != first and label not in names:
                where = f"{split}[{number}]"
                problems.append(f"{where}: label {label} ({class_name}) is not in {first}")
            elif names.setdefault(label, class_name) != class_name:
                both = f"{names[label]!r} and {class_name!r}"
                problems.append(f"{split}[{number}]: label {label} is called {both}")
            items.append(Item(path, label))
        splits[split] = tuple(items)
    unused = sorted(set(range(max(names, default=-1) + 1)) - set(names))
    if unused:
        problems.append(f"labels {unused[:MAX_SHOWN]} are not used in {first}; number them from 0")
    if problems:
        shown = "\n  ".join(problems[:MAX_SHOWN])
        more = len(problems) - MAX_SHOWN
        tail = f"\n  ... and {more} more" if more > 0 else ""
        raise DataError(f"{file}: {len(problems)} problem(s)\n  {shown}{tail}")
    classes = tuple(names[label] for label in sorted(names))
    name = file.stem.removeprefix(PREFIX) if name is None else name
    return Manifest(name, file.parent if root is None else root, classes, splits)


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, list)
        and [type(cell) for cell in row] == [str, int, str]
        and row[1] >= 0
        and bool(row[0])
    )
