"""Tensor files for a process that goes on where another was cut off, with a checksum inside.

A file that is damaged in any bit is told apart from one that is whole: what it held is computed
again, as nobody could say what else is wrong with it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from diffuprompt.engine import read_tensors, write_tensors
from diffuprompt.errors import CheckpointError
from diffuprompt.reading import parse_json
from diffuprompt.runs.cache import checksum
from diffuprompt.runs.stage import digest

SEAL = "checksum"
TOLD = "told"  # one value in the header, as the order of several is random
log = logging.getLogger(__name__)
Sealed = tuple[dict[str, Tensor], dict[str, str]]


def write_sealed(path: Path, tensors: Mapping[str, Tensor], told: Mapping[str, str]) -> None:
    """Replace ``path`` by tensors, what is told of them, and a checksum over both."""
    value = {**told, SEAL: _seal(tensors, told)}
    write_tensors(path, tensors, {TOLD: json.dumps(value, sort_keys=True)})


def read_sealed(path: Path) -> Sealed | None:
    """Return ``(tensors, what is told of them)``; None where there is no such file.

    A file that is not as it was written is deleted, with a warning that names it: None too.
    """
    if not path.exists():
        return None
    try:
        tensors, metadata = read_tensors(path)
        told = parse_json(metadata.get(TOLD, "null"), path)
        seal = told.pop(SEAL, None) if isinstance(told, dict) else None
        if seal is None or seal != _seal(tensors, told):
            raise CheckpointError(f"{path}: its checksum differs")
    except CheckpointError as cause:
        log.warning("%s; damaged, so what it held is computed again", cause)
        path.unlink(missing_ok=True)
        return None
    return tensors, {name: str(value) for name, value in told.items()}


def _seal(tensors: Mapping[str, Tensor], told: Mapping[str, str]) -> str:
    return digest([checksum(tensors), dict(told)])
