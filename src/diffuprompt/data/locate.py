"""Where published data sets lie on this machine, in any of the layouts people keep them in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from diffuprompt.errors import DataError

VARIABLE = "DIFFUPROMPT_DATA"


def data_folders(root: Path | None = None) -> list[Path]:
    """Return the existing folders in which published data sets are looked for, in order.

    ``root`` when given, else the environment variable DIFFUPROMPT_DATA, else ``../shared`` beside
    the working directory or beside the git checkout that it is in. Each may be the data folder
    itself or hold it under the name ``data``.

    Raises `DataError` where ``root`` is no folder.
    """
    if root is not None:
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; expected the one that holds the data sets")
        bases = [root]
    elif os.environ.get(VARIABLE):
        bases = [Path(os.environ[VARIABLE]).expanduser()]
    else:
        here = Path.cwd()
        checkouts = [folder for folder in (here, *here.parents) if (folder / ".git").exists()]
        bases = [folder.parent / "shared" for folder in dict.fromkeys([here, *checkouts[:1]])]
    return [path for base in bases for path in (base / "data", base) if path.is_dir()]


def homes(folders: Sequence[Path], *names: str) -> list[Path]:
    """Return every place where the data set ``names`` may lie: each name as is and without -_."""
    plain = [name.replace("-", "").replace("_", "") for name in names]
    return [folder / name for folder in folders for name in dict.fromkeys([*names, *plain])]


def first_existing(wanted: dict[str, list[Path]]) -> list[Path]:
    """Return, for each thing wanted, the first of its candidates that exists.

    Raises one `DataError` that names everything missing and every place that was looked at.
    """
    found, missing = [], []
    for what, candidates in wanted.items():
        there = [path for path in candidates if path.exists()]
        found += there[:1]
        if not there:
            looked = "".join(f"\n    {path}" for path in candidates)
            missing.append(
                f"\n  {what}, looked for at:{looked or ' nowhere, no data folder found'}"
            )
    if missing:
        value = os.environ.get(VARIABLE)
        now = f"now {value}" if value else "now unset"
        raise DataError(
            f"files are missing:{''.join(missing)}\n"
            f"  Put them there, or name the folder that holds them with {VARIABLE} ({now})"
        )
    return found
