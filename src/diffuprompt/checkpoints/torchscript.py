"""The tensors of a TorchScript archive, read without running anything the file holds.

Such a file is a zip with compiled code and one pickle; only the pickle's tensors are wanted.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from diffuprompt.checkpoints.pickles import STUMBLES, read_pickle
from diffuprompt.checkpoints.unpickler import Bag
from diffuprompt.engine import check_finite
from diffuprompt.errors import CheckpointError

MOST_CODE = 2**25  # bytes of text; CLIP's have a few hundred thousand
MOST_DEPTH = 64
MOST_MODULES = 100_000


def is_torchscript(path: Path) -> bool:
    """Whether ``path`` is a TorchScript archive rather than a plain ``torch.save`` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except STUMBLES:  # whoever reads it next will say what is wrong
        return False
    return "constants.pkl" in names and "data.pkl" in names


def read_torchscript(path: Path, *, largest: int | None = None) -> dict[str, Tensor]:
    """Return every tensor attribute under its dotted name, on the CPU; see `read_pickle`.

    Raises `CheckpointError` for a damaged file, and for one that names anything but tensors and
    modules; nothing of such a file has run by then.
    """
    module = read_pickle(path, "TorchScript archive", passive=("__torch__",), largest=largest)
    if not isinstance(module, Bag):
        raise CheckpointError(f"{path}: expected a TorchScript module")
    tensors = dict(_Walk(path).tensors(module, "", ()))
    if largest is None:
        check_finite(tensors, path)
    return tensors


def computes(path: Path, function: str) -> bool:
    """Whether the code of a TorchScript archive calls ``function``; it is read as text.

    Raises `CheckpointError` for a damaged file.
    """
    wanted, left = re.compile(rf"\b{re.escape(function)}\(".encode()), MOST_CODE
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.partition("/")[2].startswith("code/") and name.endswith(".py"):
                    with archive.open(name) as file:
                        text = file.read(left)
                    left -= len(text)
                    if left <= 0:
                        raise CheckpointError(f"{path}: more than {MOST_CODE} bytes of code")
                    if wanted.search(text):
                        return True
    except (*STUMBLES, zlib.error) as error:
        raise CheckpointError(f"{path}: not a readable TorchScript archive ({error})") from error
    return False


class _Walk:
    """Counts the modules on the way: one may be part of several, and those of others again."""

    def __init__(self, path: Path) -> None:
        self.path, self.left = path, MOST_MODULES

    def tensors(
        self, module: Bag, prefix: str, above: tuple[Bag, ...]
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors of a module by their dotted names."""
        if any(module is other for other in above):
            raise CheckpointError(f"{self.path}: module {prefix!r} contains itself")
        self.left -= 1
        if len(above) > MOST_DEPTH or self.left < 0:
            raise CheckpointError(
                f"{self.path}: expected at most {MOST_MODULES} modules, {MOST_DEPTH} deep"
            )
        for name, value in module.attributes.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, Bag):
                yield from self.tensors(value, f"{prefix}{name}.", (*above, module))
