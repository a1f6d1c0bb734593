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
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.hub.artifact import Description, fill, save_artifact
from diffuprompt.learners import METHODS, Classes, LegacyKeys, build_learner, find_method

# Never passed over, unless in a frozen teacher; all else in a file is frozen.
_LEARNED = re.compile(r"VPT|\bctx\b|compound_prompt|meta_net|adapter|prompt_learner\.proj")
_TEACHER = re.compile(r"ZS_image_encoder|model_distill")


@dataclass(frozen=True)
class Legacy:
    """What was learned, under our names, and the epoch it was saved at."""

    tensors: dict[str, Tensor]
    logit_scale: float | None
    epoch: int | None


def read_legacy(path: Path, method: str) -> Legacy:
    """Read the learned tensors of one checkpoint, in fp32.

    Raises:
        ConfigError: no such method.
        CheckpointError: the file is damaged, names code, or is of another method.
    """
    keys = find_method(method).legacy
    if not keys:
        known = [m.name for m in METHODS.values() if m.legacy]
        raise ConfigError(f"{method} has no checkpoints to import, expected one of {known}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected model.pth.tar-N")
    content = read_pickle(path, "Dassl checkpoint", passive=("torch.optim", "dassl"))
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{path}: expected a dictionary with a state_dict of tensors")
    tensors: dict[str, Tensor] = {}
    strange = []
    for raw, value in state.items():
        key = str(raw).removeprefix("module.")
        name = _our_name(key, keys)
        if name is not None:
            tensors[name] = value.float().clone()
        elif _LEARNED.search(key) and not _TEACHER.search(key):
            strange.append(key)
    if strange or not tensors:
        what = f"{strange[:8]} are not of this method" if strange else "nothing of it is there"
        raise CheckpointError(f"{path}: not a checkpoint of {method}: {what}")
    scale = state.get("logit_scale")
    epoch = content.get("epoch")
    return Legacy(
        tensors,
        None if scale is None else float(scale),
        epoch if isinstance(epoch, int) else None,
    )


def import_legacy(
    path: Path,
    method: str,
    clip: Clip,
    classes: Sequence[str],
    out: Path,
    options: Mapping[str, Any] | None = None,
) -> Description:
    """Write the artifact of a checkpoint; its logits are those of the original formula.

    Args:
        path: ``model.pth.tar-N``.
        method: whose it is, by name.
        clip: the backbone it was trained on.
        classes: the names it was trained with, in order.
        out: the artifact's folder.
        options: what the file does not say, for example ``ctx_init`` or ``position``.

    Raises:
        ConfigError: as `read_legacy`, or options that do not fit.
        CheckpointError: as `read_legacy`, or the tensors do not fit the backbone.
    """
    legacy = read_legacy(path, method)
    scale = float(clip.logit_scale)
    if legacy.logit_scale is not None and abs(legacy.logit_scale - scale) > 0.01:  # fp16 at 4.6
        raise CheckpointError(
            f"{path}: was trained on a CLIP with logit_scale {legacy.logit_scale:.3f}, "
            f"{clip.name!r} has {scale:.3f}; name the right one with --backbone"
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in legacy.tensors.items()}
    told = type(find_method(method).options).from_shapes(shapes)
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


def _our_name(key: str, keys: LegacyKeys) -> str | None:
    for pattern, ours in keys:
        if match := re.fullmatch(pattern, key):
            return re.sub(r"<(\d+)>", lambda m: str(int(m[1]) + 1), match.expand(ours))
    return None
