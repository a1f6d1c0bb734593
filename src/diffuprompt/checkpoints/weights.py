"""Weight files: reading them weights-only, hashing them, and filling a model strictly."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from diffuprompt.checkpoints.state_dict import read_torch
from diffuprompt.engine import read_tensors
from diffuprompt.errors import CheckpointError
from diffuprompt.reading import read_json
from diffuprompt.runs import Contents

MOST_SCALE = 1e4  # CLIP stops at 100
SHOWN = 12  # problems of one kind that a message lists


@dataclass(frozen=True)
class Origin:
    """Where one of our parameters comes from: tensors stacked along axis 0, maybe transposed."""

    names: tuple[str, ...]
    transpose: bool = False

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Make our parameter of the checkpoint's tensors."""
        whole = tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
        return whole.T if self.transpose else whole

    def split(self, parameter: Tensor) -> dict[str, Tensor]:
        """Inverse of `join`: contiguous copies under the checkpoint's names."""
        whole = parameter.T if self.transpose else parameter
        parts = whole.chunk(len(self.names)) if len(self.names) > 1 else (whole,)
        return {n: p.clone().contiguous() for n, p in zip(self.names, parts, strict=True)}


KeyTable = Mapping[str, Origin]


class _NoInitialValues(TorchFunctionMode):
    """Leave `torch.nn.init` out: on the meta device it draws nothing, after loading a compiler."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return named["tensor"] if "tensor" in named else args[0]
        return func(*args, **named)


@contextmanager
def unfilled() -> Iterator[None]:
    """Build a model that is filled later: its parameters take no memory and have no values yet."""
    with torch.device("meta"), _NoInitialValues():
        yield


def fill(
    model: nn.Module,
    table: KeyTable,
    tensors: Mapping[str, Tensor],
    *,
    ignored: Collection[str],
    dtype: torch.dtype,
    source: Path,
) -> None:
    """Give every parameter of ``model`` its tensor, as ``dtype``; nothing may be left over.

    ``model`` may be on the meta device. Raises `CheckpointError` listing all tensors of ``source``
    that are missing, unexpected, misshapen, of another kind than floating-point numbers, or beyond
    the range of ``dtype``; only the names in ``ignored`` may go unused.
    """
    want = model.state_dict()
    problems = [f"our parameter {ours} has no place in the file" for ours in want.keys() - table]
    state: dict[str, Tensor] = {}
    used: set[str] = set()
    for ours, origin in table.items():
        used.update(origin.names)
        missing = [name for name in origin.names if name not in tensors]
        problems += [f"missing tensor {name}" for name in missing]
        if missing:
            continue
        parts = [tensors[name] for name in origin.names]
        kinds = [(n, tensors[n]) for n in origin.names if not tensors[n].is_floating_point()]
        if kinds:
            problems += [f"expected floating-point numbers, got {n} {t.dtype}" for n, t in kinds]
            continue
        heads = {tuple(p.shape[1:]) for p in parts}
        whole = origin.join(parts) if len(heads) == 1 else None
        if whole is None or whole.shape != want[ours].shape:
            shape = want[ours].T.shape if origin.transpose else want[ours].shape
            got = ", ".join(f"{n} {tuple(tensors[n].shape)}" for n in origin.names)
            problems.append(f"expected {tuple(shape)} in all, got {got}")
        else:
            cast = whole.to(dtype, copy=True, memory_format=torch.contiguous_format)
            if whole.dtype != dtype and not torch.isfinite(cast).all():
                problems.append(f"{origin.names[0]} has values beyond the range of {dtype}")
            state[ours] = cast
    left = sorted(set(tensors) - used - set(ignored))
    problems += [f"unexpected tensor {name}" for name in left]
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        lines = "\n  ".join(problems[:SHOWN]) + more
        raise CheckpointError(f"{source}: does not fit its configuration\n  {lines}")
    if "logit_scale" in state:
        read_scale(float(state["logit_scale"]), source)
    model.load_state_dict(state, assign=True)


def read_scale(logit_scale: float, source: Path) -> float:
    """Return the factor of the cosine, ``exp(logit_scale)``.

    Raises `CheckpointError` when no CLIP was trained to have it: beyond 1e-4..1e4.
    """
    if not abs(logit_scale) <= math.log(MOST_SCALE):  # written so that NaN is refused
        raise CheckpointError(
            f"{source}: logit_scale: expected the logarithm of a factor (CLIP's is 4.6, the "
            f"logarithm of 100), got {logit_scale}"
        )
    return math.exp(logit_scale)


def find_weights(folder: Path) -> list[Path]:
    """Return the weight files of a Hugging Face folder: safetensors first, whole or sharded.

    Raises `CheckpointError` when there are none or a shard is missing.
    """
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if (folder / stem).is_file():
            return [folder / stem]
        index = folder / f"{stem}.index.json"
        if index.is_file():
            return _shards(index)
    raise CheckpointError(
        f"{folder}: no weights; expected model.safetensors (or its index) or pytorch_model.bin"
    )


def read_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """Read all tensors of ``files`` on the CPU without running any code they may hold."""
    tensors: dict[str, Tensor] = {}
    for path in files:
        part = read_tensors(path)[0] if path.suffix == ".safetensors" else read_torch(path)
        twice = sorted(tensors.keys() & part)
        if twice:
            raise CheckpointError(f"{path}: tensor {twice[0]} is also in another shard")
        tensors.update(part)
    return tensors


def hash_files(files: Sequence[Path]) -> str:
    """Return sixteen hex digits of the sha256 of the files' bytes, in the given order.

    They are read once, see `Contents`.
    """
    return Contents().hash(*files)[:16]


def _shards(index: Path) -> list[Path]:
    fields = read_json(index)
    weight_map = fields.get("weight_map") if isinstance(fields, dict) else None
    values = list(weight_map.values()) if isinstance(weight_map, dict) else []
    names = sorted(set(values)) if all(isinstance(n, str) for n in values) else []
    if not names or not all(n == Path(n).name and "\0" not in n for n in names):
        raise CheckpointError(f"{index}: expected a weight_map that names files of this folder")
    files = [index.parent / name for name in names]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise CheckpointError(f"{index}: shards are missing: {', '.join(missing)}")
    return files
