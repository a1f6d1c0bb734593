"""One spelling for every file of a data set, and nothing outside its root. Loads no torch."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from diffuprompt.data.class_names import short

_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


class Places:
    """Where the files lie that a table names: one spelling each, posix and relative to ``root``.

    ``a//x``, ``./a/x``, ``a/../a/x``, an absolute path and another Unicode form of one file are one
    spelling; a backslash stands for a slash where no file has it in its name. ``allow_links`` lets
    links lead outside, ``allow_outside`` everything.
    """

    def __init__(
        self, root: Path, *, allow_outside: bool = False, allow_links: bool = False
    ) -> None:
        self._root, self._allow = root, allow_outside
        self._allow_links = allow_links or allow_outside
        self._top, self._real = os.path.abspath(root), os.path.realpath(root)
        self._folders: dict[str, str] = {}

    def find(self, text: str) -> tuple[str, str]:
        """Return the path that ``text`` means, and what is wrong with it, "" if nothing.

        Files need not exist. Wrong are null characters, the root itself, a drive of another system
        and, unless it is allowed, whatever lies outside the root: by ``..``, as an absolute path
        or behind a link.
        """
        if not text or "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            return "", f"{short(text)} is no path"
        if "\\" in text and not os.path.lexists(os.path.join(self._top, text)):
            if _DRIVE.match(text):
                return "", f"{text} is a path of another system; make it relative to {self._root}"
            text = text.replace("\\", "/")
        path = os.path.join(self._top, text)
        # what ".." means depends on links, so ask the file system
        path = os.path.realpath(path) if ".." in text.split("/") else os.path.normpath(path)
        relative = _inside(path, self._top)
        if relative is None:
            path = os.path.realpath(path)
            relative = _inside(path, self._real)
        if relative is None:
            if not self._allow:
                kind = "absolute path" if os.path.isabs(text) else "path"
                return "", f"{kind} outside {self._root}: {text}; {ALLOW}"
            relative = Path(os.path.relpath(path, self._real)).as_posix()
        if relative == ".":
            return "", f"{text} is the folder {self._root} itself"
        relative = self._spelled(relative)
        return relative, self.problem(relative)

    def problem(self, relative: str) -> str:
        """Return what is wrong with where a path leads, "" if nothing."""
        if self._allow_links:
            return ""
        path = os.path.join(self._top, relative)
        folder = os.path.dirname(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        real = os.path.join(self._folders[folder], os.path.basename(path))
        real = os.path.realpath(real) if os.path.islink(path) else real
        if _inside(real, self._real) is None:
            return f"{relative} is a link to {real}, outside {self._root}; {ALLOW}"
        return ""

    def _spelled(self, relative: str) -> str:
        """Return a path as its folders spell it, where these exist."""
        if relative.isascii():
            return relative
        at, parts = self._top, []
        for part in relative.split("/"):
            parts.append(_as_on_disk(at, part))
            at = os.path.join(at, parts[-1])
        return "/".join(parts)


def has_content(path: Path) -> bool:
    """Whether a file is there and not empty, as a power cut leaves what was written before it."""
    return path.is_file() and path.stat().st_size > 0


def leads_outside(root: Path, paths: Iterable[str]) -> bool:
    """Whether one of ``paths``, relative to ``root``, lies outside of it, behind a link too."""
    places = Places(root)
    return any(places.problem(path) for path in paths)


ALLOW = "copy it there, or allow it with --allow-outside"


def root_of(file: Path, first: str) -> Path:
    """Return the folder that the paths in a table begin at: its own, of a link either one."""
    if file.is_symlink():
        roots = (file.parent, file.resolve().parent)
        for root in reversed(roots) if os.path.isabs(first) else roots:
            path, problem = Places(root).find(first)
            if not problem and (root / path).is_file():
                return root
    return file.parent


def _inside(path: str, top: str) -> str | None:
    """Return ``path`` relative to ``top`` in posix form, None where it is not below it."""
    if path == top:
        return "."
    start = top if top.endswith(os.sep) else top + os.sep
    return path[len(start) :].replace(os.sep, "/") if path.startswith(start) else None


def _as_on_disk(folder: str, name: str) -> str:
    """Return the Unicode form of a name that exists; on some systems all forms are one file."""
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    there = [n for n in (composed, name, decomposed) if os.path.lexists(os.path.join(folder, n))]
    if name in there and not _same(os.path.join(folder, name), os.path.join(folder, there[0])):
        return name
    return there[0] if there else name


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
