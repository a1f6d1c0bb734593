"""One door to every data set: a name, a folder, a CSV, a community split file, an archive."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from diffuprompt.data.archives import absolute_hub_spec, is_archive, is_hub_spec, open_archive
from diffuprompt.data.catalog import names, open_named
from diffuprompt.data.class_names import short
from diffuprompt.data.csvfile import read_csv
from diffuprompt.data.folders import read_folder
from diffuprompt.data.identifiers import doubtful_names, with_names
from diffuprompt.data.kinds import is_text_path, undecodable
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.registry import registered, registry_file
from diffuprompt.data.splitfile import read_split_file
from diffuprompt.errors import AbsentDataError, DataError, near_miss

log = logging.getLogger(__name__)


def open_dataset(
    spec: str | Path,
    *,
    root: Path | None = None,
    cache: Path | None = None,
    check: bool = True,
    allow_outside: bool = False,
) -> Manifest:
    """Open what ``spec`` names and check its structure.

    ``spec`` is a name of `catalog.names` or of `registered` (write ``./caltech101`` for a folder of
    that name), a folder (`read_folder`), a ``.csv`` (`read_csv`), a split ``.json``
    (`read_split_file`) or an archive (`open_archive`). ``root`` is the folder of data sets for a
    catalog name and the folder of images for a CSV or a split file; ``cache`` is where the scenes
    and the pictures of archives are kept. With ``check=False`` problems that the manifest can
    express, such as missing files, are left for `verify`, and so are warnings. Files outside the
    folder of the images, behind links too, are refused unless ``allow_outside``.

    Raises `DataError` naming the file, what was expected and what to do.
    """
    if root is not None and not root.is_dir():
        raise DataError(f"{root}: expected the folder that holds the images or data sets")
    if isinstance(spec, str) and spec in names():
        manifest = open_named(spec, root=root, cache=cache)
        return manifest.check() if check else manifest
    mine = registered() if isinstance(spec, str) else {}
    if spec in mine:
        entry = mine[str(spec)]
        where, outside = root or entry.data_root, allow_outside or entry.allow_outside
        try:
            manifest, folder = _open(entry.path, where, cache, check, outside)
        except DataError as error:
            raise type(error)(f"{spec}, a name in {registry_file()}: {error}") from error
        manifest = replace(manifest, name=str(spec))
    else:
        manifest, folder = _open(spec, root, cache, check, allow_outside)
    manifest = with_names(manifest, folder)
    if not check:
        return manifest
    for problem in doubtful_names(manifest):
        log.warning("%s", problem)
    return manifest.check()


def absolute_spec(spec: str) -> str:
    """Return what means ``spec`` from another working directory too; a name stays a name."""
    if spec in names() or spec in registered():
        return spec
    if is_hub_spec(spec):
        return absolute_hub_spec(spec)
    path = _path(spec)
    return str(path.resolve()) if path.exists() or is_archive(path) else spec


def _open(
    spec: str | Path, root: Path | None, cache: Path | None, check: bool, allow_outside: bool
) -> tuple[Manifest, Path]:
    """Return a data set, and the folder in which a file of class names may lie."""
    if is_hub_spec(spec):
        return open_archive(spec, cache)
    path = _path(spec)
    if is_archive(path):
        return open_archive(path, cache)
    if os.path.isdir(path):
        return read_folder(path, allow_outside=allow_outside), path
    if os.path.isfile(path) and path.suffix.lower() == ".csv":
        found = read_csv(path, root, require_files=check, allow_outside=allow_outside)
        return found, path.parent
    if os.path.isfile(path) and path.suffix.lower() == ".json":
        return read_split_file(path, root, allow_outside=allow_outside), path.parent
    if os.path.exists(path):
        raise DataError(f"{path}: expected a folder, a .csv, a split .json or a .tar file")
    known = (*names(), *registered())
    raise AbsentDataError(
        f"{path}: neither a path that exists nor a known data set."
        f"{near_miss(str(path), known)} Known: {', '.join(known)}"
    )


def _path(spec: str | Path) -> Path:
    """Return the path that ``spec`` means; raises `DataError` for what can be none."""
    if "\0" in str(spec):
        raise DataError(f"{short(str(spec))}: expected a path or the name of a data set")
    if not is_text_path(spec):
        raise DataError(undecodable(spec))
    try:
        return Path(spec).expanduser()
    except RuntimeError as error:  # "~nobody"
        raise DataError(f"{spec}: there is no such user") from error
