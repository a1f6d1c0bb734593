"""Caches of features as their methods' repositories save them: a bare tensor, and one of labels.

Tip-Adapter's code writes ``keys_16shots.pt`` ``(E, N)``, ``values_16shots.pt`` ``(N, C)`` (one-hot)
and, of trained keys, ``best_F_16shots.pt`` ``(N, E)``. Alpha and beta are not in them: its search
prints what it finds.

Legend: N training image, C class, E embedding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffuprompt.checkpoints import read_pickle
from diffuprompt.clip import Clip
from diffuprompt.engine import check_finite
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.learners import METHODS, Learner, build_learner, find_method

_RELEASED = re.compile(r"(?:keys|best_F)_(\d+shots\.pt)")


@dataclass(frozen=True, eq=False)
class Cache:
    """Keys ``(N, E)`` in fp32, their labels ``(N,)``, and C."""

    keys: Tensor
    labels: Tensor
    num_classes: int


def read_cache(path: Path, method: str, values: Path | None = None) -> Cache:
    """Read keys and labels.

    Args:
        path: the keys' file.
        method: whose it is, by name; it says how keys lie in the file.
        values: the labels' file; None: that of the released name beside ``path``.

    Raises:
        ConfigError: there is no name to find the labels by.
        CheckpointError: a file is missing, damaged, names code, or holds something else.
    """
    if values is None:
        match = _RELEASED.fullmatch(path.name)
        if match is None:
            raise ConfigError(
                f"--values: {path.name} is not called keys_16shots.pt or best_F_16shots.pt; name "
                "the file of its labels, values_16shots.pt"
            )
        values = path.with_name(f"values_{match[1]}")
    stored, one_hot_NC = _tensor(path, "keys"), _tensor(values, "labels")
    keys = stored.T.contiguous() if find_method(method).legacy_cache == "columns" else stored
    if len(keys) != len(one_hot_NC):
        rest = [m for m in METHODS.values() if m.legacy_cache not in ("no", _way(method))]
        other = " or ".join(f"--learner {m.name}" for m in rest)
        raise CheckpointError(
            f"{path}: expected {len(one_hot_NC)} keys, as {values.name} has labels, got "
            f"{len(keys)} of {tuple(stored.shape)}; keys that lie the other way are {other}'s"
        )
    if (
        not torch.equal(one_hot_NC.sort(1).values[:, :-1], torch.zeros_like(one_hot_NC[:, 1:]))
        or (one_hot_NC.amax(1) != 1).any()
    ):
        raise CheckpointError(f"{values}: expected one-hot rows (N, C), got other numbers")
    return Cache(keys, one_hot_NC.argmax(1), one_hot_NC.shape[1])


def learner_of_cache(
    cache: Cache,
    path: Path,
    method: str,
    clip: Clip,
    classes: Sequence[str],
    options: Mapping[str, Any],
) -> Learner:
    """Return the learner that has a cache; arguments as of `import_legacy`.

    Raises:
        ConfigError: another number of classes, or options that do not fit.
        CheckpointError: the keys are no features of this backbone.
    """
    if cache.num_classes != len(classes):
        raise ConfigError(
            f"--classes: {path}: its labels count {cache.num_classes} classes, got {len(classes)}"
        )
    width = clip.config.embed_dim
    if cache.keys.shape[1] != width:
        raise CheckpointError(
            f"{path}: expected keys of {width} numbers, the features of {clip.name!r}, got "
            f"{cache.keys.shape[1]}; name the right backbone with --backbone"
        )
    learned = {"trained_classes": list(classes), "size": len(cache.keys)}
    learner = build_learner(method, clip, {**options, **learned})
    learner.load_state_dict({"keys": cache.keys, "labels": cache.labels})
    return learner


def _way(method: str) -> str:
    return find_method(method).legacy_cache


def _tensor(path: Path, what: str) -> Tensor:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected the {what} of a cache")
    found = read_pickle(path, f"file of {what}")
    good = isinstance(found, Tensor) and found.is_floating_point() and found.ndim == 2
    if not good or not found.numel():
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise CheckpointError(f"{path}: expected {what} as one tensor of two axes, got {shape}")
    check_finite({what: found}, path)
    whole: Tensor = found.detach().float().clone()
    return whole
