"""Data sets of a user's own, by a name: one small TOML file, read when a name is looked up.

It lies in the folder ``DIFFUPROMPT_CONFIG``, else in ``diffuprompt`` below XDG_CONFIG_HOME
(``~/.config``), and holds a table for each name:

    [birds]
    path = "/home/me/pictures/birds"

Loads no torch.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffuprompt.data.class_names import short
from diffuprompt.errors import ConfigError, writing
from diffuprompt.reading import read_toml

VARIABLE = "DIFFUPROMPT_CONFIG"
FILE = "datasets.toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEYS = {"path": str, "data_root": str, "allow_outside": bool}


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What a name stands for.

    Attributes:
        path: what `open_dataset` takes: an absolute path, or shards or a table by their own form.
        data_root: folder of the images, where the data set does not say it.
        allow_outside: read pictures outside that folder too.
    """

    path: str
    data_root: Path | None = None
    allow_outside: bool = False


def registry_file() -> Path:
    """Return where names are kept; the file need not exist."""
    own, xdg = os.environ.get(VARIABLE), os.environ.get("XDG_CONFIG_HOME")
    folder = Path(own) if own else Path(xdg or "~/.config") / "diffuprompt"
    try:
        return folder.expanduser() / FILE
    except RuntimeError as cause:
        raise ConfigError(
            f"{folder}: there is no such home folder; set {VARIABLE} to a folder for settings"
        ) from cause


def registered() -> dict[str, Registered]:
    """Return the data sets that have a name of the user's, in the order they were added.

    Raises:
        ConfigError: the file is not what `register` writes; all that is wrong at once.
    """
    file = registry_file()
    if not file.is_file():
        return {}
    found, problems = {}, []
    for name, row in read_toml(file, error=ConfigError).items():
        problem = _problem(name, row)
        if problem:
            problems.append(f"[{short(name)[1:-1]}]: {problem}")
        else:
            root = row.get("data_root")
            found[name] = Registered(
                path=row["path"],
                data_root=None if root is None else Path(root),
                allow_outside=row.get("allow_outside", False),
            )
    if problems:
        raise ConfigError(f"{file}: {len(problems)} problem(s)\n  " + "\n  ".join(problems[:20]))
    return found


def name_problem(name: str, taken: tuple[str, ...]) -> str:
    """Return why ``name`` cannot be a name of a data set, nothing if it can.

    ``taken`` are the names of the catalog; what differs from one only in case and dashes is taken.
    """
    if not _NAME.fullmatch(name):
        return (
            f"{short(name)} is no name: expected up to 64 letters, digits, '-' and '_', the first "
            "a letter or a digit"
        )
    same = next((known for known in taken if _plain(known) == _plain(name)), None)
    return f"{name!r} is {same!r} of the catalog; choose another name" if same else ""


def register(name: str, entry: Registered) -> Path:
    """Keep ``name`` for a data set, replacing what it stood for; returns the file.

    Raises:
        ConfigError: the file that is there is not ours.
        StorageError: it cannot be written.
    """
    return _write({**registered(), name: entry})


def forget(name: str) -> Path:
    """Drop a name; the pictures stay as they are. Raises `KeyError` for a name that is not kept."""
    kept = registered()
    del kept[name]
    return _write(kept)


def _write(entries: dict[str, Registered]) -> Path:
    file = registry_file()
    lines = ["# Written by 'diffuprompt data add' and 'diffuprompt data remove'."]
    for name, entry in entries.items():
        lines += ["", f"[{name}]", f"path = {_toml(entry.path)}"]
        if entry.data_root is not None:
            lines.append(f"data_root = {_toml(str(entry.data_root))}")
        if entry.allow_outside:
            lines.append("allow_outside = true")
    fresh = file.with_name(f".{FILE}.{os.getpid()}")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(fresh, file)  # whole or not at all
    return file


def _problem(name: str, row: Any) -> str:
    if not _NAME.fullmatch(name):
        return "no name of a data set"
    if not isinstance(row, dict) or "path" not in row:
        return "expected a table with a path"
    wrong = [key for key, value in row.items() if not isinstance(value, _KEYS.get(key, ()))]
    return f"unknown keys or wrong values: {', '.join(wrong)}" if wrong else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
