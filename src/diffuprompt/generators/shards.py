"""What overfitting has finished, in safetensors files that survive a kill at any moment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.errors import CheckpointError
from diffuprompt.runs import read_sealed, write_sealed

Part = dict[str, Tensor]


class Shards:
    """Results of single images under "index" and other names, one file per stretch of time.

    A file holds the whole batches of at least ``save_every_s`` seconds: a kill costs no more work
    than that, and 16,000 images make a few dozen files, however fast they are computed. Files say
    which images they hold, so a later run may cut its batches another way.
    """

    def __init__(
        self, folder: Path | None, key: str, tails: Mapping[str, tuple[int, ...]], *, every_s: float
    ) -> None:
        """Open ``folder``, or nothing at all for None.

        Args:
            folder: where files lie.
            key: names all that the results depend on; written into every file.
            tails: the shape of each tensor behind the axis of images.
            every_s: seconds of work per file.
        """
        self.folder, self.key, self.tails, self.every_s = folder, key, dict(tails), every_s
        self._parts: list[Part] = []
        self._written = time.monotonic()

    def read(self) -> list[Part]:
        """Return what is there, file by file; damaged files are deleted with a warning.

        Raises:
            CheckpointError: a file is of another run, or holds other tensors.
        """
        if self.folder is None or not self.folder.is_dir():
            return []
        for left_over in self.folder.glob(".*.part"):  # of a writer that was killed
            left_over.unlink()
        found = [self._read(path) for path in sorted(self.folder.glob("[0-9]*.safetensors"))]
        return [part for part in found if part is not None]

    def add(self, part: Part) -> None:
        """Take the results of one batch; write a file when it is time."""
        if self.folder is None:
            return
        self._parts.append(part)
        if time.monotonic() - self._written >= self.every_s:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._parts and self.folder is not None:
            whole = {name: torch.cat([p[name] for p in self._parts]) for name in self._parts[0]}
            path = self.folder / f"{int(whole['index'][0]):08d}.safetensors"
            write_sealed(path, whole, {"key": self.key})
        self._parts, self._written = [], time.monotonic()

    def _read(self, path: Path) -> Part | None:
        sealed = read_sealed(path)
        if sealed is None:
            return None
        part, told = sealed
        check_key(path, told.get("key"), self.key)
        found = {name: tuple(tensor.shape) for name, tensor in part.items()}
        count = found.get("index", (0,))[0]
        want = {"index": (count,), **{name: (count, *tail) for name, tail in self.tails.items()}}
        if found != want:
            raise CheckpointError(
                f"{path}: expected tensors {want}, got {found}; delete the folder"
            )
        return part


def check_key(path: Path, found: str | None, key: str) -> None:
    """Raise `CheckpointError` unless a file belongs to this run."""
    if found != key:
        raise CheckpointError(
            f"{path}: overfitted prompts of another run (key {found!r}, expected {key!r}); "
            "delete the folder"
        )
