"""Find the archive that a spec means, and write its pictures out once."""

from __future__ import annotations

import os
from pathlib import Path

from diffuprompt.data.archives.materialise import materialise
from diffuprompt.data.archives.parquet import PREFIX, find_tables
from diffuprompt.data.archives.sample import Archive
from diffuprompt.data.archives.webdataset import find_shards
from diffuprompt.data.manifest import Manifest


def is_archive(spec: str | Path) -> bool:
    """Whether ``spec`` means pictures in an archive; see `open_archive`."""
    text = os.fspath(spec)
    return text.startswith(PREFIX) or find_shards(Path(text).expanduser()) is not None


def open_archive(spec: str | Path, cache: Path | None = None) -> tuple[Manifest, Path]:
    """Return a data set of written out pictures, and the folder of the archive.

    ``spec`` is ``hf:...`` (see `archives.parquet`), a tar file, a pattern of tar files or a folder
    of them (see `archives.webdataset`). The pictures go to a folder of their own below ``cache``,
    by default the user's cache folder.

    Raises:
        DataError: an archive cannot be read or holds what no data set has.
        StorageError: there is no room for the pictures.
    """
    text = os.fspath(spec)
    archive: Archive | None
    if text.startswith(PREFIX):
        archive = find_tables(text)
    else:
        archive = find_shards(Path(text).expanduser())
    if archive is None:
        raise ValueError(f"{spec}: no archive; ask is_archive first")
    return materialise(archive, cache), archive.folder
