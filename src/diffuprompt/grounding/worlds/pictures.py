"""The picture files that annotations name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from diffuprompt.data import image_size, short
from diffuprompt.errors import DataError
from diffuprompt.grounding.worlds.problems import Problems, shown


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """A picture on the disk.

    Attributes:
        name: what annotations call it.
        path: where it is.
        height: in pixels, as stored; an EXIF orientation is not applied.
        width: likewise.
    """

    name: str
    path: Path
    height: int
    width: int


class PictureFiles:
    """Finds pictures by name, and complains of each that is not there once.

    Args:
        folders: pictures are in the first one that has any.
        problems: where complaints go.
    """

    def __init__(self, folders: Sequence[Path], problems: Problems) -> None:
        self._folders, self._problems = tuple(folders), problems
        self._folder: Path | None = None
        self._known: dict[str, PictureFile | None] = {}

    def find(self, where: str, name: object, declared: Any = None) -> PictureFile | None:
        """Return a picture; None, and a problem, without it.

        Args:
            where: who asks for it, for messages.
            name: path below the folder of pictures.
            declared: an object whose "height" and "width" have to be right, where they are given.
        """
        if not isinstance(name, str) or not name:
            self._problems.add(where, f"its picture is {shown(name)}; expected a file name")
            return None
        if name not in self._known:
            found = self._known[name] = self._look(where, name)
            if found is not None and declared is not None:
                self._compare(where, found, declared)
        return self._known[name]

    def _look(self, where: str, name: str) -> PictureFile | None:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            self._problems.add(where, f"{short(name)} is no path below the folder of pictures")
            return None
        if self._folder is None:
            there = [folder for folder in self._folders if _is_file(folder / path)]
            self._folder = there[0] if there else None
        folder = self._folder or self._folders[0]
        try:
            height, width = image_size(folder / path)
        except DataError as cause:
            self._problems.add(where, str(cause))
            return None
        return PictureFile(name=name, path=folder / path, height=height, width=width)

    def _compare(self, where: str, found: PictureFile, declared: Any) -> None:
        for key, real in (("height", found.height), ("width", found.width)):
            said = declared.get(key, real)
            if said != real:
                what = f"{key} {shown(said)}, and {found.path} has {real}"
                self._problems.add(where, f"{what}; its boxes are of another version of it")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
