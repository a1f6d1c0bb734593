"""The tensors of a TorchScript archive, read without running anything the file holds.

Such a file is a zip with compiled code and one pickle; only the pickle's tensors are wanted.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from diffuprompt.checkpoints.pickles import Bag, read_pickle
from diffuprompt.errors import CheckpointError


def is_torchscript(path: Path) -> bool:
    """Whether ``path`` is a TorchScript archive rather than a plain ``torch.save`` file."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    return "constants.pkl" in names and "data.pkl" in names


def read_torchscript(path: Path, *, largest: int | None = None) -> dict[str, Tensor]:
    """Return every tensor attribute under its dotted name, on the CPU; see `read_pickle`.

    Raises `CheckpointError` for a damaged file, and for one that names anything but tensors and
    modules; nothing of such a file has run by then.
    """
    module = read_pickle(path, "TorchScript archive", passive=("__torch__",), largest=largest)
    if not isinstance(module, Bag):
        raise CheckpointError(f"{path}: expected a TorchScript module")
    return dict(_tensors(module, "", set()))


def _tensors(module: Bag, prefix: str, above: set[int]) -> Iterator[tuple[str, Tensor]]:
    if id(module) in above:
        raise CheckpointError(f"module {prefix!r} contains itself")
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, Bag):
            yield from _tensors(value, f"{prefix}{name}.", above | {id(module)})
