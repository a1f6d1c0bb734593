"""Where stages are kept: a folder per key, immutable once finished, resumable before.

    STORE/NAME/KEY/  stage.json  work/  FILES...  done.json

``stage.json`` says what the stage is, ``work/`` holds what an interrupted process goes on from and
is removed at the end, and ``done.json`` appears last: it holds what was measured and a hash of
every file, which is compared whenever a file is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor

from diffuprompt.engine import read_tensors, write_json, write_tensors
from diffuprompt.errors import CheckpointError, DataError
from diffuprompt.reading import read_json
from diffuprompt.runs.stage import Stage, digest

SCHEMA, OLD_SCHEMA = "diffuprompt.done/2", "diffuprompt.done/1"  # the old one has no checksum
NAME = re.compile("[a-z]+(-[a-z]+)*")  # of a stage: its folder's too
STAGE, DONE, WORK, LOCK = "stage.json", "done.json", "work", ".lock"
Values = dict[str, float]
log = logging.getLogger(__name__)


class StageFolder:
    """The folder of one stage."""

    def __init__(self, path: Path, stage: Stage) -> None:
        self.path, self.stage = path, stage
        self.work = path / WORK

    @property
    def is_finished(self) -> bool:
        """Whether its result is there."""
        return (self.path / DONE).is_file()

    def values(self) -> Values:
        """Return what was measured when it was made.

        Raises:
            CheckpointError: ``done.json`` is missing, damaged or altered.
        """
        return self._done().values

    def write(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write one file of the result; it counts when the stage is finished."""
        write_tensors(self.path / name, tensors, {"format": "pt"})

    def read(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one file.

        Raises:
            CheckpointError: it is missing, damaged or altered.
        """
        self.check(name)
        return read_tensors(self.path / name)[0]

    def check(self, name: str) -> Path:
        """Return the path of one file of the finished result, whose bytes are those it had.

        Raises:
            CheckpointError: it is missing or altered.
        """
        path = self.path / name
        if self._done().files.get(name) != _sha256(path):
            raise CheckpointError(
                f"{path}: missing, or not the file that was written; delete {self.path}, and it is "
                "made again"
            )
        return path

    def finish(self, values: Values) -> None:
        """Declare the result complete, and remove what a resumed process would have needed."""
        own = [p for p in self.path.iterdir() if p.is_file() and not p.name.startswith(".")]
        files = {p.name: _sha256(p) for p in sorted(own) if p.name not in (STAGE, DONE)}
        told = {"values": values, "files": files}
        write_json(self.path / DONE, {"schema": SCHEMA, **told, "checksum": digest(told)})
        shutil.rmtree(self.work, ignore_errors=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from making this stage; see `locked`."""
        with locked(self.path, "another process makes this stage"):
            yield

    def _done(self) -> _Done:
        found = read_json(self.path / DONE)
        schema = found.get("schema") if isinstance(found, dict) else None
        if schema in (SCHEMA, OLD_SCHEMA):
            try:
                values = {name: float(value) for name, value in found["values"].items()}
                files = {name: str(hashed) for name, hashed in found["files"].items()}
                told = {"values": found["values"], "files": found["files"]}
                whole = schema == OLD_SCHEMA or found["checksum"] == digest(told)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                whole = False
            if whole:
                return _Done(values=values, files=files)
        raise CheckpointError(
            f"{self.path / DONE}: damaged; delete {self.path}, and it is made again"
        )


@dataclass(frozen=True, kw_only=True)
class _Done:
    """The content of ``done.json``: what was measured, and a hash of every file."""

    values: Values
    files: dict[str, str]


class Store:
    """All stages under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: Stage) -> StageFolder:
        """Return the folder of a stage, whether or not it exists.

        Raises:
            DataError: the stage's name is none that a folder may have, or its folder is a link out
                of the store.
        """
        path = self.root / stage.name / stage.key
        if not NAME.fullmatch(stage.name):
            raise DataError(f"{self.root}: {ascii(stage.name)[:80]} is no name of a stage")
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise DataError(
                f"{path}: leads out of {self.root}, to {path.resolve()}; remove the link"
            )
        return StageFolder(path, stage)

    def made(self, stage: Stage, make: Callable[[StageFolder], Values]) -> StageFolder:
        """Return the finished folder of a stage; ``make`` fills it where nobody has yet.

        ``make`` writes files into the folder, resumes from its ``work`` folder, and returns what it
        measured; "seconds" are those of the last process where it does not say them. It runs in
        one process at a time.
        """
        folder = self.folder(stage)
        if folder.is_finished and not folder.work.exists():
            return folder
        with folder.held():
            if folder.is_finished:  # by another process, or by one killed while it cleared away
                shutil.rmtree(folder.work, ignore_errors=True)
            else:
                write_json(folder.path / STAGE, stage.to_json())
                start = time.monotonic()
                values = make(folder)
                folder.finish({"seconds": time.monotonic() - start, **values})
        return folder

    def forget(self, stage: Stage) -> None:
        """Delete the result of a stage, so that it is made again."""
        folder = self.folder(stage)
        if folder.path.is_dir():
            with folder.held():
                (folder.path / DONE).unlink(missing_ok=True)
                for path in folder.path.iterdir():
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    elif path.name != LOCK:
                        path.unlink()  # of a link, and not of what it leads to


@contextlib.contextmanager
def locked(folder: Path, meaning: str) -> Iterator[None]:
    """Be the only process that works in ``folder``; wait while another one does, and say so.

    The lock is the operating system's where it has one for files, so that a process that is killed
    sets it free. It must not be taken twice by one process.

    Raises:
        DataError: the folder cannot be made or written to.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        log.warning("%s: %s; waiting for it to end", folder, meaning)
        lock.acquire()
    except OSError as cause:
        raise DataError(
            f"{folder}: no folder that can be written to ({cause.strerror or cause}); name another "
            "with --out or --runs-dir, or free its place"
        ) from cause
    try:
        yield
    finally:
        lock.release()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return "unreadable"
