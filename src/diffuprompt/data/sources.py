"""One door to every data set: a catalog name, a folder, a CSV or a community split file."""

from __future__ import annotations

from pathlib import Path

from diffuprompt.data.catalog import names, open_named
from diffuprompt.data.csvfile import read_csv
from diffuprompt.data.folders import read_folder
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.splitfile import read_split_file
from diffuprompt.errors import DataError, near_miss


def open_dataset(
    spec: str | Path,
    *,
    root: Path | None = None,
    cache: Path | None = None,
    check: bool = True,
) -> Manifest:
    """Open what ``spec`` names and check its structure.

    ``spec`` is a name of `catalog.names` (write ``./caltech101`` for a folder of that name), a
    folder (`read_folder`), a ``.csv`` (`read_csv`) or a split ``.json`` (`read_split_file`).
    ``root`` is the folder of data sets for a catalog name and the folder of images for a CSV or
    a split file; ``cache`` is where the scenes are kept. With ``check=False`` problems that the
    manifest can express, such as missing files, are left for `verify`.

    Raises `DataError` naming the file, what was expected and what to do.
    """
    if root is not None and not root.is_dir():
        raise DataError(f"{root}: expected the folder that holds the images or data sets")
    manifest = _open(spec, root, cache, check)
    return manifest.check() if check else manifest


def _open(spec: str | Path, root: Path | None, cache: Path | None, check: bool) -> Manifest:
    if isinstance(spec, str) and spec in names():
        return open_named(spec, root=root, cache=cache)
    path = Path(spec).expanduser()
    if path.is_dir():
        return read_folder(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return read_csv(path, root, require_files=check)
    if path.is_file() and path.suffix.lower() == ".json":
        return read_split_file(path, root)
    if path.exists():
        raise DataError(f"{path}: expected a folder, a .csv or a split .json file")
    raise DataError(
        f"{spec}: neither a path that exists nor a known data set."
        f"{near_miss(str(spec), names())} Known: {', '.join(names())}"
    )
