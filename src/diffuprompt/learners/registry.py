"""Learners by name; the only place that knows all of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from diffuprompt.clip.model import Clip
from diffuprompt.clip.text import TextPlan
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.learners.base import Learner
from diffuprompt.learners.cocoop import CoCoOp
from diffuprompt.learners.coop import CoOp
from diffuprompt.learners.zero_shot import ZeroShot

LEARNERS: dict[str, type[Learner]] = {cls.name: cls for cls in (ZeroShot, CoOp, CoCoOp)}
_NOT_CONFIGURED = {"self", "clip", "plan", "generator"}


def options(name: str) -> tuple[str, ...]:
    """Return the configuration keys of a learner."""
    if name not in LEARNERS:
        raise ConfigError(
            f"unknown learner {name!r}, expected one of {sorted(LEARNERS)}."
            + near_miss(name, list(LEARNERS))
        )
    parameters = inspect.signature(LEARNERS[name].__init__).parameters
    return tuple(p for p in parameters if p not in _NOT_CONFIGURED)


def build_learner(
    name: str,
    clip: Clip,
    config: Mapping[str, Any],
    *,
    plan: TextPlan | None = None,
    generator: torch.Generator | None = None,
) -> Learner:
    """Build a learner from its configuration; unknown names and keys are a `ConfigError`."""
    known = options(name)
    for key in config:
        if key not in known:
            raise ConfigError(
                f"{name} has no option {key!r}, expected one of {list(known)}."
                + near_miss(key, known)
            )
    build: Any = LEARNERS[name]
    learner: Learner = build(clip, **config, plan=plan, generator=generator)
    return learner
