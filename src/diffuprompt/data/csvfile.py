"""Data sets listed in a CSV file: ``path,label[,split]``, paths relative to the CSV's folder."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from pathlib import Path

from diffuprompt.data.class_names import short
from diffuprompt.data.folders import SPLIT_NAMES, hash_split
from diffuprompt.data.manifest import MAX_SHOWN, Item, Manifest, Split
from diffuprompt.data.paths import Places, root_of
from diffuprompt.errors import DataError, near_miss
from diffuprompt.reading import read_text

COLUMNS = ("path", "label", "split")


def read_csv(
    file: Path,
    root: Path | None = None,
    *,
    require_files: bool = True,
    allow_outside: bool = False,
) -> Manifest:
    """Read a CSV whose header is ``path,label`` or ``path,label,split``, in any order.

    ``label`` is the class name; classes are sorted. ``split`` is train, val (valid, validation)
    or test; without that column `hash_split` makes the splits. Paths are relative to ``root``,
    the CSV's own folder by default, and must stay inside it unless ``allow_outside``. Raises one
    `DataError` with every bad row and its line number; a row whose file is missing is bad unless
    ``require_files`` is False.
    """
    text = read_text(file, error=DataError)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = _header(file, next(reader, []))
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{file}: not valid CSV ({error}); check its quotes") from error

    if root is None:
        first = dict(zip(columns, lines[0][1], strict=False)) if lines else {}
        root = root_of(file, first.get("path", "").strip())
    places = Places(root, allow_outside=allow_outside)
    problems: list[str] = []
    rows: list[tuple[str, str, Split | None]] = []
    seen: dict[str, int] = {}
    for line, cells in lines:
        bad, row = _row(columns, cells, places)
        if not bad and row[0] in seen:
            bad = f"{row[0]} is already listed in line {seen[row[0]]}"
        if not bad and require_files and not os.path.isfile(root / row[0]):
            bad = f"file not found: {root / row[0]}"
        if bad:
            problems.append(f"line {line}: {bad}")
            continue
        seen[row[0]] = line
        rows.append(row)
    classes = sorted({label for _, label, _ in rows})
    if not lines:
        problems.append("no rows after the header")
    if problems:
        shown = problems[:MAX_SHOWN]
        if len(problems) > MAX_SHOWN:
            shown.append(f"... and {len(problems) - MAX_SHOWN} more")
        raise DataError(f"{file}: {len(problems)} problem(s)\n  " + "\n  ".join(shown))
    return _manifest(file, root, classes, rows)


def _header(file: Path, header: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in header]
    unknown = [c for c in columns if c not in COLUMNS]
    missing = [c for c in COLUMNS[:2] if c not in columns]
    if unknown or missing or len(set(columns)) != len(columns):
        hint = near_miss(unknown[0], COLUMNS) if unknown else ""
        raise DataError(
            f"{file}: line 1: expected the header path,label or path,label,split "
            f"(commas between), got {','.join(header)[:200]!r}.{hint}"
        )
    return columns


def _row(
    columns: list[str], cells: list[str], places: Places
) -> tuple[str, tuple[str, str, Split | None]]:
    """Return what is wrong with a row (or "") and its path, label and split."""
    nothing: tuple[str, str, Split | None] = ("", "", None)
    if len(cells) != len(columns):
        return f"expected {len(columns)} columns, got {len(cells)}", nothing
    row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
    if not row["path"] or not row["label"]:
        return f"empty {'label' if row['path'] else 'path'}", nothing
    split = SPLIT_NAMES.get(row["split"].lower()) if "split" in row else None
    if "split" in row and split is None:
        return f"expected split train, val or test, got {short(row['split'])}", nothing
    path, problem = places.find(row["path"])
    return problem, (path, unicodedata.normalize("NFC", row["label"]), split)


def _manifest(
    file: Path, root: Path, classes: list[str], rows: list[tuple[str, str, Split | None]]
) -> Manifest:
    label_of = {name: i for i, name in enumerate(classes)}
    if rows[0][2] is None:
        splits = hash_split([(path, label_of[name]) for path, name, _ in rows])
    else:
        splits = {
            split: tuple(Item(path, label_of[name]) for path, name, s in rows if s == split)
            for split in set(SPLIT_NAMES.values())
        }
    return Manifest(file.stem, root, tuple(classes), splits)
