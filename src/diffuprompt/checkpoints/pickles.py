"""The tensors of a zip that torch wrote, read without running anything the file holds.

A restricted unpickler knows how to rebuild tensors, turns objects of named packages into passive
bags of attributes, and refuses every other name.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffuprompt.errors import CheckpointError

_DTYPES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


class Bag:
    """Stands for any object of the file: holds attributes, does nothing."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("an object's state is not a dictionary")
        self.attributes = state


def read_pickle(
    path: Path, kind: str, passive: tuple[str, ...] = (), *, largest: int | None = None
) -> Any:
    """Return what ``path`` holds, tensors on the CPU.

    Args:
        path: a zip with one ``data.pkl`` and its storages.
        kind: what it is, for messages.
        passive: packages whose objects become a `Bag`.
        largest: bytes of a storage that are still read; tensors of larger ones are on the meta
            device, so that shapes cost nothing. None: all are read.

    Raises:
        CheckpointError: the file is damaged, or names anything but tensors, plain containers and
            those packages; nothing of it has run by then.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
            with archive.open(root) as stream:
                folder = root.removesuffix(".pkl")
                return _Reader(stream, archive, folder, passive, largest).load()
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        OSError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        RuntimeError,
    ) as error:  # whatever a malformed pickle can make the reader stumble over
        raise CheckpointError(f"{path}: not a readable {kind} ({error})") from error


class _Reader(pickle.Unpickler):
    """Knows tensors, storages, plain containers and passive objects; nothing else."""

    def __init__(
        self,
        stream: Any,
        archive: zipfile.ZipFile,
        folder: str,
        passive: tuple[str, ...],
        largest: int | None,
    ) -> None:
        super().__init__(stream)
        self._largest = largest
        self._archive, self._folder, self._passive = archive, folder, passive
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if any(module == package or module.startswith(package + ".") for package in self._passive):
            return Bag
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("collections", "defaultdict"): defaultdict,
            ("builtins", "dict"): dict,
            ("__builtin__", "dict"): dict,  # as pickle's protocol 2 calls it
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
            ("torch._utils", "_rebuild_parameter"): _first,
            ("torch.jit._pickle", "restore_type_tag"): _first,
            **{("torch.jit._pickle", kind): list for kind in _LISTS},
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weight file")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _device, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError(f"unknown reference {kind!r}")
        if key not in self._storages:
            entry = self._archive.getinfo(f"{self._folder}/{key}")
            if entry.compress_type != zipfile.ZIP_STORED:  # torch never compresses tensors
                raise pickle.UnpicklingError(f"storage {key} is compressed")
            self._storages[key] = self._read(entry, dtype)
        storage = self._storages[key]
        if storage.dtype != dtype or storage.numel() != count:
            raise pickle.UnpicklingError(f"storage {key} has {storage.numel()} values, not {count}")
        return storage

    def _read(self, entry: zipfile.ZipInfo, dtype: torch.dtype) -> Tensor:
        if self._largest is not None and entry.file_size > self._largest:
            return torch.empty(entry.file_size // dtype.itemsize, dtype=dtype, device="meta")
        data = bytearray(self._archive.read(entry))
        return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _rebuild(storage: Tensor, offset: int, size: Any, stride: Any, *_rest: object) -> Tensor:
    if not isinstance(storage, Tensor):
        raise pickle.UnpicklingError("a tensor without storage")
    return torch.as_strided(storage, size, stride, offset)  # refuses what lies outside


def _first(value: object, *_rest: object) -> object:
    return value
