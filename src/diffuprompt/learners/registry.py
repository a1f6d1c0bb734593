"""Learners by name: which class carries out a method's options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from diffuprompt.clip.model import Clip
from diffuprompt.clip.text import TextPlan
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.learners.base import Learner
from diffuprompt.learners.cocoop import CoCoOp
from diffuprompt.learners.composed import PromptLearner
from diffuprompt.learners.coop import CoOp
from diffuprompt.learners.options import (
    CoCoOpOptions,
    CoOpOptions,
    PromptOptions,
    TipOptions,
    ZeroShotOptions,
    settable,
)
from diffuprompt.learners.presets import find_method
from diffuprompt.learners.tip_adapter import TipAdapter
from diffuprompt.learners.zero_shot import ZeroShot

KINDS: dict[type, type[Learner]] = {
    ZeroShotOptions: ZeroShot,
    CoOpOptions: CoOp,
    CoCoOpOptions: CoCoOp,
    PromptOptions: PromptLearner,
    TipOptions: TipAdapter,
}


def options(name: str) -> tuple[str, ...]:
    """Return the keys of a learner that people set."""
    return tuple(settable(find_method(name).options))


def build_learner(
    name: str,
    clip: Clip,
    config: Mapping[str, Any],
    *,
    plan: TextPlan | None = None,
    generator: torch.Generator | None = None,
) -> Learner:
    """Build a learner: the method's own options, changed by ``config``.

    Raises:
        ConfigError: unknown names and keys, and options that do not fit each other or the towers.
    """
    defaults: Any = find_method(name).options
    known = [f.name for f in dataclasses.fields(defaults)]
    for key in config:
        if key not in known:
            raise ConfigError(
                f"{name} has no option {key!r}, expected one of {known}." + near_miss(key, known)
            )
    values: dict[str, Any] = {**dataclasses.asdict(defaults), **config}
    kind: Any = type(defaults)
    if problems := kind(**values).misfits(clip.config, clip.tokenizer):
        raise ConfigError("; ".join(problems))
    build: Any = KINDS[kind]
    learner: Learner = build(clip, **values, plan=plan, generator=generator)
    learner.name = name
    return learner
