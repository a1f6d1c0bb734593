"""What every archive is made of: pictures with a label, in files that belong to a split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from diffuprompt.data.folders import SPLIT_NAMES
from diffuprompt.data.manifest import Split

MAX_PICTURE = 2**28  # bytes of one picture in an archive
_MARKS = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"BM", "bmp"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The bytes of a picture file, and its label as the archive says it: a name or a number."""

    picture: bytes
    label: str | int


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of an archive, and the split that its place says, None where it says none."""

    path: Path
    split: Split | None


class Archive(Protocol):
    """Files with samples in them."""

    @property
    def name(self) -> str:
        """What the data set is called."""

    @property
    def folder(self) -> Path:
        """Where a file of class names may lie beside the files."""

    @property
    def shards(self) -> Sequence[Shard]:
        """The files, in the order in which they are read."""

    @property
    def asked(self) -> str:
        """Everything beside the files that a reading depends on."""

    def read(self, path: Path) -> Iterator[Sample]:
        """Yield the samples of one file, in order; `DataError` names what cannot be used."""

    def class_names(self) -> Sequence[str]:
        """Return the names by number where the archive has them, else nothing."""


def split_of(parts: Sequence[str]) -> Split | None:
    """Return the split that the parts of a path name, the last part first.

    ``train-00000-of-00002.parquet`` and ``valid/000.tar`` name one; words must stand alone.
    """
    for part in reversed(parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return None


def ending_of(picture: bytes) -> str:
    """Return the usual ending of a picture's file by its first bytes; ``img`` where unknown.

    It is for people: pictures are opened by what they hold.
    """
    if picture[8:12] == b"WEBP":
        return "webp"
    return next((ending for mark, ending in _MARKS if picture.startswith(mark)), "img")
