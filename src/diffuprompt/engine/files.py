"""Files that are either the old one or the new one, never half of one.

Every writer fills a temporary file in the same folder, syncs it and renames it over the target, so
a process killed at any moment leaves a readable file behind.
"""

from __future__ import annotations

import io
import json
import os
import pickle  # only for the name of the error that torch.load raises
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from diffuprompt.errors import CheckpointError, writing

SHOWN = 12  # problems that a message lists


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` atomically; missing parent folders are made.

    Raises `StorageError` naming the file, what it would take and what to do; the old file stays.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    with writing(path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            with suppress(OSError):  # the error above tells more
                part.unlink(missing_ok=True)
        _sync_folder(path.parent)


def remove_parts(path: Path) -> None:
    """Remove what killed writers of ``path`` left; only for the sole owner of the folder."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Replace ``path`` by a safetensors file, atomically; tensors of any device and layout."""
    plain = {name: _plain_tensor(tensor) for name, tensor in tensors.items()}
    write_bytes(path, safetensors_bytes(plain, dict(metadata or {})))


def in_half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as a small file keeps them: numbers in half precision, all else as it is."""
    kept = torch.float16
    return {k: v.to(kept) if v.is_floating_point() else v for k, v in tensors.items()}


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file to ``(tensors on the CPU, metadata)``.

    Raises `CheckpointError` when the file is missing or damaged, or holds NaN or infinity.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        metadata = dict(file.metadata() or {})
    check_finite(tensors, path)
    return tensors, metadata


def check_finite(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Raise `CheckpointError` naming ``source`` and every tensor with NaN or infinity in it."""
    wrong = [
        f"{name}: {int(bad.sum())} of {bad.numel()} values are NaN or infinite"
        for name, tensor in tensors.items()
        if (bad := ~torch.isfinite(tensor.float() if tensor.itemsize == 1 else tensor)).any()
    ]
    if wrong:
        lines = wrong[:SHOWN] + ([f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else [])
        raise CheckpointError(f"{source}: not usable; restore it\n  " + "\n  ".join(lines))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except FileNotFoundError as cause:
        raise CheckpointError(f"{path}: no such file") from cause
    except (OSError, SafetensorError) as cause:
        raise CheckpointError(f"{path}: not a readable safetensors file: {cause}") from cause


def save_state(path: Path, state: Mapping[Any, Any]) -> None:
    """Replace ``path`` by ``state``, atomically.

    ``state`` may hold tensors, numbers, strings, None, lists and dicts of these; tuples become
    lists, tensors and parameters become plain CPU tensors. Anything else is a `TypeError` that
    names the place.
    """
    buffer = io.BytesIO()
    torch.save(_plain(state, "state"), buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path) -> dict[Any, Any]:
    """Read what `save_state` wrote, on the CPU and without running any code of the file.

    Raises `CheckpointError` when the file is missing, truncated, altered or of another kind.
    """
    advice = "delete it to start again, or restore it from a copy"
    try:
        data = Path(path).read_bytes()
        # torch does not compare the checksums of its own archive; a flipped bit must not pass.
        broken = zipfile.ZipFile(io.BytesIO(data)).testzip()
        if broken is not None:
            raise CheckpointError(f"{path}: the part {broken} is damaged; {advice}")
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except FileNotFoundError as cause:
        raise CheckpointError(f"{path}: no such file") from cause
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as cause:
        raise CheckpointError(f"{path}: not a readable state file ({cause}); {advice}") from cause
    except (zipfile.BadZipFile, pickle.UnpicklingError) as cause:
        raise CheckpointError(f"{path}: not a readable state file ({cause}); {advice}") from cause
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected a dict of states, got {type(state).__name__}")
    return state


def _plain(value: Any, where: str) -> Any:
    """Copy nested containers down to what a weights-only reader accepts."""
    if isinstance(value, Tensor):
        return _plain_tensor(value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{where}: keys must be str or int, got {key!r}")
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{where}: cannot save a {type(value).__name__}; give tensors or numbers")


def _plain_tensor(tensor: Tensor) -> Tensor:
    """Copy to a contiguous CPU tensor that owns its storage: a view would save its whole base."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can open folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
