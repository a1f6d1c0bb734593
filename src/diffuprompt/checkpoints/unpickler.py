"""A pickle reader that runs nothing of the file, and whose work the file's size bounds.

Python's own unpickler in C would call what a file names, takes gigabytes for a memo index of nine
digits, and hashes a tuple of tuples for years. This one knows how to rebuild tensors, turns objects
of named packages into passive bags, and refuses every other name and every other kind of key.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

STORAGES: dict[str, torch.dtype] = {
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
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
# What training programs leave beside the weights; never needed, so never built
PASSIVE = ("numpy", "argparse", "pathlib", "torch.optim", "torch.cuda.amp", "torch.amp")
_PASSIVE_NAMES = (("_codecs", "encode"), ("types", "SimpleNamespace"), ("torch", "device"))
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
_REFUSED = (
    *(code[0] for code in (pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST, pickle.OBJ)),
    *(code[0] for code in (pickle.PERSID, pickle.NEWOBJ_EX, pickle.BYTEARRAY8)),
    *(code[0] for code in (pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)),
)
MOST_TENSORS = 100_000
MOST_AXES = 8


class Bag:
    """Stands for any object of the file: holds attributes, does nothing."""

    attributes: dict[Any, Any]

    def __new__(cls, *_args: object, **_options: object) -> Bag:
        """Take whatever the object's class would have taken."""
        bag = super().__new__(cls)
        bag.attributes = {}
        return bag

    def __init__(self, *_args: object, **_options: object) -> None: ...


class Reader(pickle._Unpickler):
    """Knows tensors, plain containers and passive objects; nothing else.

    Args:
        stream: where the pickle is read from.
        storage: called with what a file says of a storage; returns its values, ``(numel,)``.
        passive: packages whose objects become a `Bag`, beside `PASSIVE`.
        most: bytes of all tensors together.

    Raises:
        pickle.UnpicklingError: whatever is not allowed; and what a malformed pickle raises.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self,
        stream: Any,
        storage: Callable[[Any], Tensor],
        passive: tuple[str, ...] = (),
        *,
        most: int,
    ) -> None:
        super().__init__(stream)
        self._storage, self._passive, self._most = storage, (*PASSIVE, *passive), most
        self._tensors = self._bytes = 0

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name; nothing is imported."""
        if any(module == package or module.startswith(package + ".") for package in self._passive):
            return Bag
        if (module, name) in _PASSIVE_NAMES:
            return Bag
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return Bag
        known: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): _mapping,
            ("collections", "defaultdict"): _empty,
            ("builtins", "dict"): _mapping,
            ("__builtin__", "dict"): _mapping,  # as pickle's protocol 2 calls it
            ("builtins", "set"): _first,
            ("__builtin__", "set"): _first,
            ("torch", "Size"): _first,
            ("torch._utils", "_rebuild_tensor_v2"): self._rebuild,
            ("torch._utils", "_rebuild_parameter"): _first,
            ("torch.jit._pickle", "restore_type_tag"): _first,
            **{("torch.jit._pickle", kind): _first for kind in _LISTS},
        }
        if (module, name) not in known:
            shown = ascii(f"{module}.{name}")[1:-1][:120]
            raise pickle.UnpicklingError(f"{shown} is not allowed in a weight file")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the values of a storage."""
        return self._storage(pid)

    def _rebuild(self, storage: Any, offset: Any, size: Any, stride: Any, *_rest: object) -> Tensor:
        if not isinstance(storage, Tensor) or storage.ndim != 1:
            raise pickle.UnpicklingError("a tensor without storage")
        sizes, strides = _whole(size), _whole(stride)
        (start,) = _whole([offset])
        if len(sizes) != len(strides) or len(sizes) > MOST_AXES:
            raise pickle.UnpicklingError(f"a tensor of {len(sizes)} axes, {len(strides)} strides")
        numel = math.prod(sizes)
        last = start + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        if numel > len(storage) or (numel and last >= len(storage)):  # 0 strides are copies
            raise pickle.UnpicklingError(
                f"a tensor of shape {sizes} lies outside its storage of {len(storage)} values"
            )
        self._tensors += 1
        self._bytes += numel * storage.itemsize
        if self._tensors > MOST_TENSORS or self._bytes > self._most:
            raise pickle.UnpicklingError("the tensors are larger than the file that holds them")
        return torch.as_strided(storage, sizes, strides, start)

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("an instruction that no weight file has")

    def load_build(self) -> None:
        """Give a bag its attributes; those of a container are of no use."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Bag):
            if isinstance(state, dict):
                target.attributes = state
        elif not isinstance(target, dict):
            raise pickle.UnpicklingError(f"attributes of a {type(target).__name__}")

    def load_newobj(self) -> None:
        """Make a bag."""
        self.stack.pop()
        if self.stack.pop() is not Bag:
            raise pickle.UnpicklingError("an object of a kind that is no class")
        self.append(Bag())

    def load_setitem(self) -> None:
        """Put one value into a mapping."""
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def load_setitems(self) -> None:
        """Put several values into a mapping."""
        self._put(self.pop_mark())

    def load_dict(self) -> None:
        """Make a mapping of what stands on the stack."""
        items = self.pop_mark()
        self.append({})
        self._put(items)

    def load_frozenset(self) -> None:
        """A set is read as a list: its members need not be hashed."""
        self.append(self.pop_mark())

    def load_empty_set(self) -> None:
        """See `load_frozenset`."""
        self.append([])

    def load_additems(self) -> None:
        """Add to what `load_empty_set` made."""
        items = self.pop_mark()
        if not isinstance(self.stack[-1], list):
            raise pickle.UnpicklingError("members of something that is no set")
        self.stack[-1].extend(items)

    def _put(self, items: Sequence[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Bag):
            target = target.attributes
        if not isinstance(target, dict):
            raise pickle.UnpicklingError(f"items of a {type(target).__name__}")
        for i in range(0, len(items), 2):
            target[_key(items[i])] = items[i + 1]

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys(_REFUSED, _refuse),
        pickle.BUILD[0]: load_build,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.ADDITEMS[0]: load_additems,
    }


_KEYS = (str, bytes, int, float, type(None), Tensor, Bag)


def _key(key: object) -> object:
    if not isinstance(key, _KEYS):  # the hash of nested tuples takes exponential time
        raise pickle.UnpicklingError(f"a {type(key).__name__} as the key of a mapping")
    return key


def _whole(values: Any) -> list[int]:
    numbers: list[Any] = list(values) if isinstance(values, list | tuple) else [None]
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor whose sizes are no whole numbers from 0 on")
    return numbers


def _mapping(*args: Any) -> dict[Any, Any]:
    """Stand for ``OrderedDict(pairs)``."""
    pairs = args[0] if args else []
    if not isinstance(pairs, list) or len(args) > 1:
        raise pickle.UnpicklingError("a mapping of something that is no list of pairs")
    return {_key(key): value for key, value in pairs}


def _empty(*_args: object) -> dict[Any, Any]:
    return {}


def _first(value: object = None, *_rest: object) -> object:
    return value
