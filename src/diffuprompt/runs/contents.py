"""Hashes of files' bytes, computed once and remembered as long as the file is the same.

What is remembered is found by path, inode, size, and the times of the last change of bytes
(``mtime_ns``) and of anything (``ctime_ns``): a copy that keeps the times has another inode and
another ``ctime_ns``, which no program can set.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from diffuprompt.engine import NULL, Progress
from diffuprompt.errors import DataError
from diffuprompt.runs.cache import cache_root, make_private
from diffuprompt.runs.stage import digest as digest_of

FILE = "contents.sqlite"
FRESH_S = 2.0  # a file changed this recently may change again within one tick of its times
SHOWN_FROM = 500  # files that are hashed without a word
_TABLE = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT)"


class Contents:
    """sha256 of files; safe to use from several processes at once.

    Args:
        memory: the database of what is remembered; None is ``contents.sqlite`` in the user's cache
            folder. Where it cannot be used, nothing is remembered.
        rehash: read every file again, whatever is remembered.
    """

    def __init__(self, memory: Path | None = None, *, rehash: bool = False) -> None:
        self._memory = memory or cache_root() / FILE
        self._rehash = rehash
        self._seen: dict[str, tuple[str, str]] = {}  # path -> stamp, digest

    def hash(self, *paths: Path) -> str:
        """Return 64 hex digits over the bytes of one file, or of several behind each other.

        Raises:
            DataError: a file cannot be read; the message names it.
        """
        return self.hash_all([paths])[0]

    def hash_all(self, groups: Sequence[Sequence[Path]], progress: Progress = NULL) -> list[str]:
        """Return one hash per group of files, in their order; groups are read in parallel.

        Raises:
            DataError: a file cannot be read; the message names it.
        """
        names = ["\n".join(os.path.abspath(path) for path in group) for group in groups]
        stamps = [_stamp(group) for group in groups]
        known = self._recall(names)
        wanted = [i for i, name in enumerate(names) if known.get(name, ("",))[0] != stamps[i]]
        new = self._read([groups[i] for i in wanted], progress) if wanted else []
        old_enough = time.time() - FRESH_S
        keep = []
        for i, digest in zip(wanted, new, strict=True):
            known[names[i]] = (stamps[i], digest)
            if _stamp(groups[i]) == stamps[i] and _changed_at(groups[i]) < old_enough:
                keep.append((names[i], stamps[i], digest))
        self._remember(keep)
        return [known[name][1] for name in names]

    def _read(self, groups: Sequence[Sequence[Path]], progress: Progress) -> list[str]:
        shown = progress if len(groups) >= SHOWN_FROM else NULL
        digests = []
        with (
            shown.task("hashing files", total=len(groups)) as task,
            ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        ):
            for digest in pool.map(_digest, groups):
                digests.append(digest)
                task.advance()
        return digests

    def _recall(self, names: Sequence[str]) -> dict[str, tuple[str, str]]:
        found = {name: self._seen[name] for name in names if name in self._seen}
        missing = [name for name in names if name not in found]
        if self._rehash or not missing:
            return found

        def look_up(database: sqlite3.Connection) -> None:
            for start in range(0, len(missing), 500):
                part = missing[start : start + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT path, stamp, digest FROM files WHERE path IN ({marks})"
                for path, stamp, kept in database.execute(query, part):
                    digest, _, seal = str(kept).partition(" ")
                    if seal == _seal(path, stamp, digest):  # no bit has changed since
                        found[path] = (stamp, digest)

        self._use(look_up)
        return found

    def _remember(self, rows: Sequence[tuple[str, str, str]]) -> None:
        if not rows:
            return
        self._seen.update({path: (stamp, digest) for path, stamp, digest in rows})
        kept = [(*row[:2], f"{row[2]} {_seal(*row)}") for row in rows]
        self._use(lambda db: db.executemany("REPLACE INTO files VALUES (?, ?, ?)", kept))

    def _use(self, action: Callable[[sqlite3.Connection], object]) -> None:
        """Run ``action`` on the database; one that cannot be used costs time, never a result."""
        try:
            make_private(self._memory.parent)
            os.close(os.open(self._memory, os.O_RDWR | os.O_CREAT, 0o600))
            with _connected(self._memory) as database:
                action(database)
        except (OSError, sqlite3.Error):
            return


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=20)) as database, database:
        database.execute(_TABLE)
        yield database


def _seal(path: str, stamp: str, digest: str) -> str:
    return digest_of([path, stamp, digest])


def _stamp(group: Sequence[Path]) -> str:
    """Return what changes whenever a file may have changed."""
    parts = []
    for path in group:
        s = _stat(path)
        parts.append(f"{s.st_ino}/{s.st_size}/{s.st_mtime_ns}/{s.st_ctime_ns}")
    return " ".join(parts)


def _changed_at(group: Sequence[Path]) -> float:
    return max(max(s.st_mtime, s.st_ctime) for s in map(_stat, group))


def _stat(path: Path) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as cause:
        raise DataError(_unreadable(path, cause)) from cause


def _digest(group: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in group:
        try:
            with open(path, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as cause:
            raise DataError(_unreadable(path, cause)) from cause
    return digest.hexdigest()


def _unreadable(path: Path, cause: OSError) -> str:
    fix = "restore the file or take it out of the data set"
    return f"{path}: cannot be read ({cause.strerror}); {fix}"
