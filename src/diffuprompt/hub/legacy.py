"""Checkpoints of the methods' own repositories (Dassl's ``model.pth.tar-N``) as artifacts.

Such a file is a pickle of everything: mostly the frozen CLIP, an optimiser, a scheduler object.
Only tensors are read from it, and of those only what was learned; the backbone is loaded as always.
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
from diffuprompt.data import name_problems
from diffuprompt.engine import check_finite
from diffuprompt.errors import CheckpointError, ConfigError, near_miss
from diffuprompt.hub.artifact import fill, save_artifact
from diffuprompt.hub.description import Description
from diffuprompt.hub.legacy_cache import learner_of_cache, read_cache
from diffuprompt.learners import METHODS, Classes, LegacyKeys, Method, build_learner, find_method

# Never passed over, unless in a frozen teacher; all else in a file is frozen.
_LEARNED = re.compile(r"VPT|\bctx\b|compound_prompt|meta_net|adapter|prompt_learner\.proj")
_TEACHER = re.compile(r"ZS_image_encoder|model_distill")


@dataclass(frozen=True)
class Legacy:
    """What was learned, under our names, and the epoch it was saved at."""

    tensors: dict[str, Tensor]
    logit_scale: float | None
    epoch: int | None


def check_legacy(path: Path, method: str, values: Path | None = None) -> None:
    """Read a checkpoint as `import_legacy` does, which also needs a backbone; raises as it does."""
    if _is_cache(method, values):
        read_cache(path, method, values)
    else:
        read_legacy(path, method)


def read_legacy(path: Path, method: str) -> Legacy:
    """Read the learned tensors of one checkpoint, in fp32.

    Raises:
        ConfigError: no such method.
        CheckpointError: the file is damaged, names code, or is of another method.
    """
    keys = _known(method).legacy
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}; expected model.pth.tar-N")
    content = read_pickle(path, "Dassl checkpoint", passive=("dassl",))
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{path}: expected a dictionary with a state_dict of tensors")
    tensors: dict[str, Tensor] = {}
    strange = []
    for raw, value in state.items():
        if not isinstance(raw, str):
            raise CheckpointError(f"{path}: state_dict: expected names, got a {type(raw).__name__}")
        key = raw.removeprefix("module.")
        name = _our_name(key, keys)
        if name is not None:
            tensors[name] = _learned(value, key, path)
        elif _LEARNED.search(key) and not _TEACHER.search(key):
            strange.append(key)
    if strange or not tensors:
        shown = ascii(strange[:8])[:400]
        what = f"{shown} are not of this method" if strange else "nothing of it is there"
        raise CheckpointError(f"{path}: not a checkpoint of {method}: {what}")
    check_finite(tensors, path)
    scale, epoch = state.get("logit_scale"), content.get("epoch")
    if scale is not None and (scale.numel() != 1 or not scale.is_floating_point()):
        shape = tuple(scale.shape)
        raise CheckpointError(f"{path}: logit_scale: expected one number, got {shape}")
    if scale is not None:
        check_finite({"logit_scale": scale}, path)
    return Legacy(
        tensors,
        None if scale is None else float(scale),
        epoch if type(epoch) is int and 0 <= epoch < 2**63 else None,
    )


def import_legacy(
    path: Path,
    method: str,
    clip: Clip,
    classes: Sequence[str],
    out: Path,
    options: Mapping[str, Any] | None = None,
    values: Path | None = None,
) -> Description:
    """Write the artifact of a checkpoint; its logits are those of the original formula.

    Args:
        path: ``model.pth.tar-N``, or the keys of a cache.
        method: whose it is, by name.
        clip: the backbone it was trained on.
        classes: the names it was trained with, in order.
        out: the artifact's folder.
        options: what the file does not say, for example ``ctx_init`` or ``position``.
        values: the labels of a cache; see `read_cache`.

    Raises:
        ConfigError: as `read_legacy`, options that do not fit, class names that cannot be told
            apart, or `out` is taken, see `check_out`.
        CheckpointError: as `read_legacy`, or the tensors do not fit the backbone.
    """
    check_out(out)
    problems = name_problems(classes) if classes else ["expected at least one name"]
    if problems:
        raise ConfigError("\n  ".join(["--classes: cannot be used", *problems]))
    if _is_cache(method, values):
        cache = read_cache(path, method, values)
        cached = learner_of_cache(cache, path, method, clip, classes, options or {})
        return save_artifact(out, cached, tuple(classes), None, {"imported": path.name})
    legacy = read_legacy(path, method)
    scale = float(clip.logit_scale)
    told_scale = legacy.logit_scale
    # 0.01: fp16 at 4.6; written so that NaN is refused
    if told_scale is not None and not abs(told_scale - scale) <= 0.01:
        raise CheckpointError(
            f"{path}: was trained on a CLIP with logit_scale {legacy.logit_scale:.3f}, "
            f"{clip.name!r} has {scale:.3f}; name the right one with --backbone"
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in legacy.tensors.items()}
    try:
        told = type(find_method(method).options).from_shapes(shapes)
    except (LookupError, TypeError, ValueError) as cause:
        raise CheckpointError(f"{path}: not a checkpoint of {method}: shapes {shapes}") from cause
    learner = build_learner(
        method, clip, {**told, **(options or {})}, generator=torch.Generator().manual_seed(0)
    )
    own = learner.state_dict()
    tensors = {  # one context for all classes is (M, D) there, (1, M, D) here
        name: t[None] if name in own and own[name].shape == (1, *t.shape) else t
        for name, t in legacy.tensors.items()
    }
    fill(learner, tensors, "", path)
    try:
        learner.tokens(Classes(classes))
    except ConfigError as cause:
        raise ConfigError(f"--classes: {path}: {cause}") from cause
    training = {"imported": path.name, "epoch": legacy.epoch}
    return save_artifact(out, learner, tuple(classes), None, training)


def _known(method: str) -> Method:
    """Return a method that has checkpoints; raises `ConfigError` for any other name."""
    known = [m.name for m in METHODS.values() if m.legacy or m.legacy_cache != "no"]
    if method not in METHODS:
        hint = near_miss(method, known)
        raise ConfigError(f"--learner: expected one of {', '.join(known)}, got {method!r}.{hint}")
    if method not in known:
        raise ConfigError(
            f"--learner: {method} has no checkpoints to import, expected one of {', '.join(known)}"
        )
    return find_method(method)


def _is_cache(method: str, values: Path | None) -> bool:
    is_cache = _known(method).legacy_cache != "no"
    if values is not None and not is_cache:
        raise ConfigError(f"--values: the checkpoints of {method} are one file; leave it out")
    return is_cache


def check_out(out: Path) -> None:
    """Raise `ConfigError` unless an artifact written to ``out`` replaces nothing."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "holds files already" if out.is_dir() else "is a file"
        raise ConfigError(f"--out: {out} {what}; name another folder, or delete this one")


def _learned(value: Tensor, key: str, path: Path) -> Tensor:
    if not value.is_floating_point() or not 1 <= value.ndim <= 4 or not value.numel():
        raise CheckpointError(
            f"{path}: {key}: expected floating-point numbers on 1 to 4 axes, got {value.dtype} "
            f"{tuple(value.shape)}"
        )
    return value.float().clone()


def _our_name(key: str, keys: LegacyKeys) -> str | None:
    for pattern, ours in keys:
        if match := re.fullmatch(pattern, key):
            return re.sub(r"<(\d+)>", lambda m: str(int(m[1]) + 1), match.expand(ours))
    return None
