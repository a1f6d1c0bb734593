"""An accelerator for tests, made of CPU numbers: it has no float64 and counts who waits for it.

Inside `Accelerator` everything made with ``device=DEVICE`` is a tensor that says it is there. As on
a real one, results live where their inputs do, tensors of two devices do not mix (numbers on the
host may), and float64 is refused. Reading a number or a tensor back is counted as a ``wait``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

DEVICE = torch.device("mps:0")  # the one whose limits are met here
HERE = torch.device("cpu")
_aten = torch.ops.aten
# what must know the device's numbers before it can say how large its result is
_SIZES = {"nonzero", "masked_select", "unique_dim", "_unique", "_unique2", "unique_consecutive"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Far(Tensor):
    """A tensor on the pretended device; ``near`` holds its numbers."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, strides=near.stride(), storage_offset=near.storage_offset(),
            dtype=near.dtype, device="meta",
        )  # fmt: skip

    def __init__(self, near: Tensor) -> None:
        if near.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        self.near = near

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return DEVICE

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} on a pretended device outside of Accelerator")

    __torch_function__ = torch._C._disabled_torch_function_impl


class Accelerator(TorchDispatchMode):
    """Computes on the pretended device while it is entered.

    Attributes:
        waits: how often the host had to wait, by the name of what it asked for.
        uploads: how many tensors came from the host.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.uploads = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        tensors = _tensors((args, kwargs))
        far = any(isinstance(t, Far) for t in tensors)
        asked = kwargs.get("device")
        if asked is not None and torch.device(asked).type != "cpu":
            kwargs, to_far = {**kwargs, "device": HERE}, True
        else:
            to_far = far and asked is None
        copies = name in ("_to_copy", "to", "cpu")  # all but the first only in inference mode
        if copies and far and not to_far:
            self.waits["a copy to the host"] += 1
        elif name == "copy_":
            self._copy(args)
        elif name in ("_local_scalar_dense", "equal", "is_nonzero"):
            self.waits["a number"] += far
            to_far = False
        elif far:
            self._check(name, args, kwargs, tensors)
        self.uploads += copies and to_far and not far
        out = func(*_map(_near, args), **_map(_near, kwargs))
        if to_far and name != "copy_":
            out = _map(lambda t: Far(t) if type(t) is Tensor else t, out)
            return out if copies else return_and_correct_aliasing(func, args, kwargs, out)
        return args[0] if name == "copy_" else out

    def _copy(self, args: tuple[Any, ...]) -> None:
        to, source = isinstance(args[0], Far), isinstance(args[1], Far)
        self.uploads += to and not source
        self.waits["a copy to the host"] += source and not to

    def _check(self, name: str, args: Any, kwargs: Any, tensors: list[Tensor]) -> None:
        if name in _SIZES:
            self.waits["a size"] += 1
        if name in _INDEXING:
            masks = [t for t in _tensors(args[1]) if t.dtype in (torch.bool, torch.uint8)]
            self.waits["a size"] += any(isinstance(t, Far) for t in masks)
            if not isinstance(args[0], Far):
                raise RuntimeError(f"{name}: expected positions on the cpu, where the tensor is")
            return  # positions on the host are allowed
        strangers = [t for t in tensors if not isinstance(t, Far) and t.ndim]
        if strangers:
            raise RuntimeError(f"{name}: expected all tensors on one device, got mps and cpu")


def _near(value: Any) -> Any:
    return value.near if isinstance(value, Far) else value


def _map(change: Callable[[Any], Any], tree: Any) -> Any:
    """Apply to all that arguments hold; the library's own for any tree is ten times slower."""
    if isinstance(tree, list | tuple):
        return type(tree)(_map(change, inner) for inner in tree)
    if isinstance(tree, dict):
        return {key: _map(change, inner) for key, inner in tree.items()}
    return change(tree)


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _map(lambda t: found.append(t) if isinstance(t, Tensor) else None, tree)
    return found


_real_tensor = torch.tensor


def _tensor(data: Any, *, device: torch.device | str = HERE, **options: Any) -> Tensor:
    made = _real_tensor(data, **options)
    return made if torch.device(device).type == "cpu" else made.to(device)


@contextmanager
def accelerator() -> Iterator[Accelerator]:
    """Enter `Accelerator`; its random numbers are the CPU's."""
    with pytest.MonkeyPatch.context() as patch, Accelerator() as found:
        patch.setattr(torch, "tensor", _tensor)  # it makes its result without a dispatch
        here = lambda _, seed: torch.Generator().manual_seed(seed)  # noqa: E731
        patch.setattr("diffuprompt.diffusion.attention.generator_on", here)
        yield found
