"""Find the archive that a spec means, and write its pictures out once."""

from __future__ import annotations

import os
from pathlib import Path

from diffuprompt.data.archives.parquet import PREFIX, find_tables
from diffuprompt.data.archives.sample import Archive
from diffuprompt.data.archives.webdataset import find_shards
from diffuprompt.data.manifest import Manifest
from diffuprompt.errors import DataError


def is_hub_spec(spec: str | Path) -> bool:
    """Whether ``spec`` begins with ``hf:``, and so is no path."""
    return os.fspath(spec).startswith(PREFIX)


def absolute_hub_spec(spec: str) -> str:
    """Return ``hf:...`` with the path made absolute where it is one that exists."""
    where, query, columns = spec.removeprefix(PREFIX).partition("?")
    for path, config in ((where, ""), where.rpartition(":")[::2]):
        if path and Path(path).expanduser().exists():
            found = Path(path).expanduser().resolve()
            return f"{PREFIX}{found}{':' if config else ''}{config}{query}{columns}"
    return spec


def is_archive(path: Path) -> bool:
    """Whether a path means tar files of pictures; see `find_shards`."""
    return find_shards(path) is not None


def open_archive(spec: str | Path, cache: Path | None = None) -> tuple[Manifest, Path]:
    """Return a data set of written out pictures, and the folder of the archive.

    ``spec`` is ``hf:...`` (see `archives.parquet`), a tar file, a pattern of tar files or a folder
    of them (see `archives.webdataset`). The pictures go to a folder of their own below ``cache``,
    by default the user's cache folder.

    Raises:
        DataError: an archive cannot be read or holds what no data set has.
        StorageError: there is no room for the pictures.
    """
    archive: Archive | None
    archive = find_tables(os.fspath(spec)) if is_hub_spec(spec) else find_shards(Path(spec))
    from diffuprompt.data.archives.materialise import materialise  # loads torch

    if archive is None:
        raise DataError(f"{spec}: expected hf:..., a .tar file or a folder of them")
    return materialise(archive, cache), archive.folder
