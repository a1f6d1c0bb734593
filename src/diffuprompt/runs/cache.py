"""Files that can be computed again: by kind and key, under one budget, the least used go first.

Every file carries its key and a checksum of its tensors. One that is damaged, gone or of another
key is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diffuprompt.engine import write_tensors
from diffuprompt.errors import ConfigError

ROOT = "DIFFUPROMPT_CACHE"
BUDGET = "DIFFUPROMPT_CACHE_GIB"
DEFAULT_GIB = 10.0
TOLD = "key and checksum"  # in the header of a file
SPARED = 0.9  # of the budget: what is left when something had to go
log = logging.getLogger(__name__)


def cache_root() -> Path:
    """Return the user's cache folder: ``DIFFUPROMPT_CACHE``, else XDG's; ``~`` is expanded.

    Raises:
        ConfigError: it begins with ``~`` and there is no such home.
    """
    own, xdg = os.environ.get(ROOT), os.environ.get("XDG_CACHE_HOME")
    place = Path(own) if own else Path(xdg or "~/.cache") / "diffuprompt"
    try:
        return place.expanduser()
    except RuntimeError as cause:
        raise ConfigError(
            f"{place}: there is no such home folder; set {ROOT} to a folder for cached files"
        ) from cause


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the user alone.

    What is there already keeps its permissions: somebody may have opened it on purpose.
    """
    for part in [*reversed(folder.parents), folder]:
        if not part.is_dir():
            with contextlib.suppress(FileExistsError):
                part.mkdir(mode=0o700)


def cache_budget() -> int:
    """Return the bytes that cached files may take: ``DIFFUPROMPT_CACHE_GIB``, else 10 GiB.

    Raises:
        ConfigError: the variable is no positive number.
    """
    text = os.environ.get(BUDGET, "")
    try:
        gib = float(text) if text else DEFAULT_GIB
    except ValueError:
        gib = math.nan
    if not 0 < gib < math.inf:
        raise ConfigError(f"{BUDGET}: expected a number of GiB above 0, got {text!r}")
    return int(gib * 2**30)


class Cache:
    """Tensors in files ``ROOT/KIND/KEY.safetensors``.

    Reading a file makes it the most recently used one. When the files of all kinds together exceed
    the budget, the least recently used are deleted, whoever wrote them.
    """

    def __init__(self, root: Path | None = None, *, budget: int | None = None) -> None:
        self.root = root or cache_root()
        self.budget = cache_budget() if budget is None else budget
        self._size: int | None = None  # of all files, as far as this process knows
        self._checked: set[Path] = set()

    def path(self, kind: str, key: str) -> Path:
        """Return where the tensors of a key are kept."""
        return self.root / kind / f"{key}.safetensors"

    def has(self, kind: str, key: str) -> bool:
        """Whether the file is there."""
        return self.path(kind, key).is_file()

    def read(
        self, kind: str, key: str, name: str, rows: Sequence[int] | None = None
    ) -> Tensor | None:
        """Return a tensor, or some of its rows; None where it has to be computed (again)."""
        path = self.path(kind, key)
        try:
            with safe_open(str(path), framework="pt") as file:
                if path not in self._checked:
                    self._check(path, file)
                if name not in file.keys():
                    return None  # earlier versions kept less
                if rows is None:
                    found: Tensor = file.get_tensor(name)
                else:
                    part = file.get_slice(name)
                    low, high = min(rows), max(rows) + 1
                    if high - low <= 2 * len(rows):  # neighbours: one read
                        found = part[low:high][torch.tensor(rows) - low]
                    else:
                        found = torch.cat([part[row : row + 1] for row in rows])
            os.utime(path)
        except (FileNotFoundError, IndexError):
            return None
        except (OSError, SafetensorError) as cause:
            log.warning("%s: damaged (%s); it is computed again", path, cause)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return found

    def write(self, kind: str, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors, and make room where the budget is exceeded."""
        path = self.path(kind, key)
        size = sum(t.nbytes for t in tensors.values())
        if size > self.budget:
            return
        make_private(path.parent)
        write_tensors(path, tensors, {TOLD: _told(key, tensors)})
        self._checked.add(path)
        self._size = self._measure() if self._size is None else self._size + size
        if self._size > self.budget:
            self._make_room(path)

    def _check(self, path: Path, file: object) -> None:
        """Compare key and checksum once per process.

        Raises:
            SafetensorError: they differ, or there are none.
        """
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # type: ignore[attr-defined]
        told = (file.metadata() or {}).get(TOLD)  # type: ignore[attr-defined]
        if told != _told(path.stem, tensors):
            raise SafetensorError("its key or its checksum differs")
        self._checked.add(path)

    def _files(self) -> Iterable[tuple[float, int, Path]]:
        for path in self.root.glob("*/[!.]*.safetensors"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                yield stat.st_mtime, stat.st_size, path

    def _measure(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _make_room(self, newest: Path) -> None:
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.budget * SPARED:
                break
            if path == newest:
                continue
            with contextlib.suppress(OSError):
                path.unlink()
            self._checked.discard(path)
            total -= size
        self._size = total


def _told(key: str, tensors: Mapping[str, Tensor]) -> str:
    """Return what a file says of itself; one value, as the order of several is random."""
    return f"{key} {checksum(tensors)}"


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return sixteen hex digits over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(t.shape)}|{t.dtype}|".encode())
        digest.update(t.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
