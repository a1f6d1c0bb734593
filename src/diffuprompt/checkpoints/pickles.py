"""What ``torch.save`` and TorchScript wrote, read without running anything the file holds.

Both of torch's formats: a zip with one ``data.pkl`` and a member for each storage, and the older
one, pickles with the storages' bytes behind them. How much memory is taken depends on the file's
size alone, whatever the file claims.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffuprompt.checkpoints.unpickler import MOST_TENSORS, Reader
from diffuprompt.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C  # of torch's older format
VERSION = 1001
MOST_PICKLE = 2**24  # bytes of a pickle; those of large checkpoints have a few hundred thousand
SHARED = 4  # how often the bytes of a file may be seen by tensors
# Whatever a malformed file can make a reader stumble over
STUMBLES = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    AssertionError,
    MemoryError,
)


def read_pickle(
    path: Path, kind: str, passive: tuple[str, ...] = (), *, largest: int | None = None
) -> Any:
    """Return what ``path`` holds, tensors on the CPU.

    Args:
        path: a file of ``torch.save`` or ``torch.jit.save``.
        kind: what it is, for messages.
        passive: packages whose objects become a `Bag`.
        largest: bytes of a storage that are still read; tensors of larger ones are on the meta
            device, so that shapes cost nothing. None: all are read.

    Raises:
        CheckpointError: the file is damaged, or names anything but tensors, plain containers and
            those packages; nothing of it has run by then.
    """
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _Zip(archive, size, largest).load(passive)
        with path.open("rb") as file:
            return _Stream(file, size, largest).load(passive)
    except STUMBLES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise CheckpointError(
            f"{path}: not a readable {kind} ({reason}); expected what torch.save wrote; only "
            "tensors are read from such a file, and nothing in it is run"
        ) from error


class _Storages:
    """Storages by key, each read once; no more bytes than the file has."""

    def __init__(self, size: int, largest: int | None) -> None:
        self.size, self.largest, self.left = size, largest, size
        self._known: dict[str, Tensor] = {}

    def values(self, key: str, dtype: torch.dtype, count: int, num_bytes: int) -> Tensor:
        """Return ``(count,)`` values, read by `read` at the first call for ``key``."""
        if key not in self._known:
            self.left -= num_bytes
            if num_bytes < 0 or self.left < 0:
                raise pickle.UnpicklingError(f"storage {key} is larger than the file")
            if self.largest is not None and num_bytes > self.largest:
                numel = num_bytes // dtype.itemsize
                self._known[key] = torch.empty(numel, dtype=dtype, device="meta")
            else:
                data = bytearray(self.read(key, num_bytes))
                empty = torch.empty(0, dtype=dtype)
                self._known[key] = torch.frombuffer(data, dtype=dtype) if data else empty
        storage = self._known[key]
        if storage.dtype != dtype or storage.numel() != count:
            raise pickle.UnpicklingError(f"storage {key} has {storage.numel()} values, not {count}")
        return storage

    def read(self, key: str, num_bytes: int) -> bytes:
        """Return the bytes of a storage."""
        raise NotImplementedError


class _Zip(_Storages):
    """Torch's zip: storages are members of their own."""

    def __init__(self, archive: zipfile.ZipFile, size: int, largest: int | None) -> None:
        super().__init__(size, largest)
        self._archive = archive
        root = [n for n in archive.namelist() if n.partition("/")[2] == "data.pkl"]
        if not root:
            raise pickle.UnpicklingError("the zip has no data.pkl")
        self._folder = root[0].removesuffix(".pkl")

    def load(self, passive: tuple[str, ...]) -> Any:
        entry = self._stored(f"{self._folder}.pkl")
        if entry.file_size > min(MOST_PICKLE, self.size):
            raise pickle.UnpicklingError(f"data.pkl has {entry.file_size} bytes")
        with self._archive.open(entry) as member:
            stream = io.BytesIO(member.read())
        return Reader(stream, self._storage, passive, most=SHARED * self.size).load()

    def _storage(self, pid: Any) -> Tensor:
        dtype, key, count = _told(pid)
        entry = self._stored(f"{self._folder}/{key}")
        return self.values(key, dtype, count, entry.file_size)

    def _stored(self, name: str) -> zipfile.ZipInfo:
        entry = self._archive.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED:  # torch never compresses these
            raise pickle.UnpicklingError(f"{name.rpartition('/')[2]} is compressed")
        return entry

    def read(self, key: str, num_bytes: int) -> bytes:
        return self._archive.read(self._stored(f"{self._folder}/{key}"))


class _Stream(_Storages):
    """Torch's format before 1.6: five pickles, then each storage as its length and its bytes.

    The storages stand behind the pickle that needs them: it is read once to find them, with tensors
    on the meta device, and once more for the values.
    """

    def __init__(self, file: Any, size: int, largest: int | None) -> None:
        super().__init__(size, largest)
        self._file = file
        self._places: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._total = 0

    def load(self, passive: tuple[str, ...]) -> Any:
        if self._next() != MAGIC or self._next() != VERSION:
            raise pickle.UnpicklingError("neither of torch's formats")
        self._next()  # sizes of the writer's integers
        start, most = self._file.tell(), SHARED * self.size
        found = Reader(self._bounded(), self._first_storage, passive, most=most).load()
        keys = self._next()
        if not isinstance(keys, list) or set(map(str, keys)) != set(self._bytes):
            raise pickle.UnpicklingError("the list of storages is not that of the tensors")
        for key in keys:
            (count,) = struct.unpack("<q", self._file.read(8))
            self._places[key] = self._file.tell()
            if not 0 <= count <= self.size:
                raise pickle.UnpicklingError(f"storage {key} is larger than the file")
            self._file.seek(self._bytes[key], io.SEEK_CUR)
        if self._file.tell() > self.size:
            raise pickle.UnpicklingError("the file is cut off")
        if not keys:
            return found
        self._file.seek(start)
        data = self._file.read(MOST_PICKLE)
        return Reader(io.BytesIO(data), self._storage, passive, most=most).load()

    def _next(self) -> Any:
        def none(pid: Any) -> Tensor:
            raise pickle.UnpicklingError(f"unknown reference {ascii(pid)[:80]}")

        return Reader(self._bounded(), none, most=0).load()

    def _bounded(self) -> _Bounded:
        return _Bounded(self._file)

    def _first_storage(self, pid: Any) -> Tensor:
        dtype, key, count = _told(pid)
        if key not in self._bytes:
            self._bytes[key] = count * dtype.itemsize
            self._total += self._bytes[key]
        if self._total > self.size or len(self._bytes) > MOST_TENSORS:
            raise pickle.UnpicklingError(f"storage {key} is larger than the file")
        return torch.empty(count, dtype=dtype, device="meta")

    def _storage(self, pid: Any) -> Tensor:
        dtype, key, count = _told(pid)
        return self.values(key, dtype, count, self._bytes[key])

    def read(self, key: str, num_bytes: int) -> bytes:
        self._file.seek(self._places[key])
        data: bytes = self._file.read(num_bytes)
        return data


class _Bounded:
    """A file of which one pickle is read; never more than `MOST_PICKLE` bytes."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, MOST_PICKLE

    def read(self, size: int) -> bytes:
        return self._counted(self._file.read(min(size, self._left + 1)))

    def readline(self) -> bytes:
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise pickle.UnpicklingError(f"a pickle of more than {MOST_PICKLE} bytes")
        return data


def _told(pid: Any) -> tuple[torch.dtype, str, int]:
    kind, dtype, key, _device, count, *view = pid
    good = isinstance(dtype, torch.dtype) and isinstance(key, str) and type(count) is int
    if any(part is not None for part in view):  # of torch before 0.4
        raise pickle.UnpicklingError("a storage that is part of another one")
    if kind != "storage" or not good or count < 0:
        raise pickle.UnpicklingError(f"unknown reference {ascii(kind)[:80]}")
    return dtype, key, count
