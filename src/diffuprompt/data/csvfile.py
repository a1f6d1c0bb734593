"""Data sets listed in a CSV file: ``path,label[,split]``, paths relative to the CSV's folder."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

from diffuprompt.data.folders import SPLIT_NAMES, hash_split
from diffuprompt.data.manifest import MAX_SHOWN, Item, Manifest, Split
from diffuprompt.errors import DataError, near_miss

log = logging.getLogger(__name__)
COLUMNS = ("path", "label", "split")


def read_csv(file: Path, root: Path | None = None, *, require_files: bool = True) -> Manifest:
    """Read a CSV whose header is ``path,label`` or ``path,label,split``, in any order.

    ``label`` is the class name; classes are sorted. ``split`` is train, val (valid, validation)
    or test; without that column `hash_split` makes the splits. Paths are relative to ``root``,
    the CSV's own folder by default. Raises one `DataError` with every bad row and its line
    number; a row whose file is missing is bad unless ``require_files`` is False.
    """
    root = file.parent if root is None else root
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front of the header
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            columns = _header(file, next(reader, []))
            lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{file}: not valid CSV ({error}); check its quotes") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error

    problems: list[str] = []
    rows: list[tuple[str, str, Split | None]] = []
    seen: dict[str, int] = {}
    for line, cells in lines:
        bad, row = _row(columns, cells, root)
        if not bad and row[0] in seen:
            bad = f"{row[0]} is already listed in line {seen[row[0]]}"
        if not bad and require_files and not (root / row[0]).is_file():
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
            f"(commas between), got {','.join(header)!r}.{hint}"
        )
    return columns


def _row(
    columns: list[str], cells: list[str], root: Path
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
        return f"expected split train, val or test, got {row['split']!r}", nothing
    path = Path(row["path"])
    if path.is_absolute():
        if not path.is_relative_to(root.absolute()):
            return f"absolute path outside {root}: {row['path']}; make it relative", nothing
        path = path.relative_to(root.absolute())
    return "", (path.as_posix(), row["label"], split)


def _manifest(
    file: Path, root: Path, classes: list[str], rows: list[tuple[str, str, Split | None]]
) -> Manifest:
    if all(name.lstrip("-").isdigit() for name in classes):
        log.warning("%s: the labels are numbers; prompts are made of names, so write names", file)
    label_of = {name: i for i, name in enumerate(classes)}
    if rows[0][2] is None:
        splits = hash_split([(path, label_of[name]) for path, name, _ in rows])
    else:
        splits = {
            split: tuple(Item(path, label_of[name]) for path, name, s in rows if s == split)
            for split in set(SPLIT_NAMES.values())
        }
    return Manifest(file.stem, root, tuple(classes), splits)
