"""The tensors of a TorchScript archive, read without running anything the file holds.

Such a file is a zip with compiled code and one pickle. Only the pickle's tensors are wanted: a
restricted unpickler knows how to rebuild tensors, turns every module into a passive bag of
attributes, and refuses any other name.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
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


class _Bag:
    """Stands for any module of the archive: holds attributes, does nothing."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module's state is not a dictionary")
        self.attributes = state


def is_torchscript(path: Path) -> bool:
    """Whether ``path`` is a TorchScript archive rather than a plain ``torch.save`` file."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    return "constants.pkl" in names and "data.pkl" in names


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return every tensor attribute under its dotted name, on the CPU.

    Raises `CheckpointError` for a damaged file, and for one that names anything but tensors and
    modules; nothing of such a file has run by then.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
            with archive.open(root) as stream:
                module = _Reader(stream, archive, root.removesuffix(".pkl")).load()
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
        raise CheckpointError(f"{path}: not a readable TorchScript archive ({error})") from error
    if not isinstance(module, _Bag):
        raise CheckpointError(f"{path}: expected a TorchScript module")
    return dict(_tensors(module, "", set()))


class _Reader(pickle.Unpickler):
    """Knows tensors, storages, ordered dictionaries and passive modules; nothing else."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream)
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Bag
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
            ("torch.jit._pickle", "restore_type_tag"): _untagged,
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
            data = bytearray(self._archive.read(entry))
            storage = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            self._storages[key] = storage
        storage = self._storages[key]
        if storage.dtype != dtype or storage.numel() != count:
            raise pickle.UnpicklingError(f"storage {key} has {storage.numel()} values, not {count}")
        return storage


def _rebuild(storage: Tensor, offset: int, size: Any, stride: Any, *_rest: object) -> Tensor:
    if not isinstance(storage, Tensor):
        raise pickle.UnpicklingError("a tensor without storage")
    return torch.as_strided(storage, size, stride, offset)  # refuses what lies outside


def _untagged(value: object, _tag: object) -> object:
    return value


def _tensors(module: _Bag, prefix: str, above: set[int]) -> Iterator[tuple[str, Tensor]]:
    if id(module) in above:
        raise CheckpointError(f"module {prefix!r} contains itself")
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Bag):
            yield from _tensors(value, f"{prefix}{name}.", above | {id(module)})
