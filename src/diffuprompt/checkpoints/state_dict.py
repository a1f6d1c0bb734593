"""The state dict in a file of ``torch.save``, as evaluation or as training programs write it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from diffuprompt.checkpoints.pickles import read_pickle
from diffuprompt.engine import check_finite
from diffuprompt.errors import CheckpointError

SCALAR = 8  # bytes of one number of any type
WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training programs keep the weights
PREFIXES = ("module.", "_orig_mod.", "model.")  # of data parallel, of torch.compile, of Lightning
SHOWN = 8


def read_torch(path: Path, kind: str = "state dict") -> dict[str, Tensor]:
    """Read the weights of a file; nothing that it holds is run.

    Of a training checkpoint only the weights are taken, see `find_state`. Raises `CheckpointError`
    naming the file, and the tensors that hold NaN or infinity.
    """
    tensors = find_state(read_pickle(path, kind), path)
    check_finite(tensors, path)
    return tensors


def peek_torch(path: Path) -> dict[str, Tensor] | None:
    """Return the tensors of `read_torch` on the meta device, single numbers as they are.

    None where only reading tells what is wrong.
    """
    try:
        return find_state(read_pickle(path, "state dict", largest=SCALAR), path)
    except CheckpointError:
        return None


def find_state(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of what ``path`` holds, by the names that the model gave them.

    A mapping that stands under one of `WRAPPERS` is taken out, and a prefix of `PREFIXES` that all
    names share is taken off. Raises `CheckpointError` when there is no such mapping, or two.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: expected a mapping of names to tensors, got a {type(content).__name__}"
        )
    state: Mapping[Any, Any] = content
    if not _all_tensors(content):
        inside = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if len(inside) > 1:
            raise CheckpointError(
                f"{path}: {' and '.join(inside)} may both be the weights; save the one that is "
                "meant with torch.save"
            )
        state = content[inside[0]] if inside else content
    strange = [key for key, value in state.items() if not isinstance(value, Tensor)]
    names = [key for key in state if not isinstance(key, str) or not key]
    if strange or names or not state:
        what = f"{_listed(strange or names)} are none" if state else "it holds nothing"
        raise CheckpointError(
            f"{path}: expected a mapping of names to tensors, or one under {' or '.join(WRAPPERS)};"
            f" {what}"
        )
    return _without_prefix(dict(state))


def _all_tensors(content: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in content.values())


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in state)), ""):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _listed(keys: list[Any]) -> str:
    shown = ", ".join(ascii(key)[:60] for key in keys[:SHOWN] if not isinstance(key, Tensor))
    return f"{shown}{', ...' if len(keys) > SHOWN else ''}" or "its keys"
