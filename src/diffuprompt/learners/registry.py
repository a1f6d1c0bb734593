"""Learners by name: build what a method describes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from diffuprompt.clip import Clip, TextPlan
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import Learner
from diffuprompt.learners.method import Method
from diffuprompt.learners.options import Options, changed, refuse
from diffuprompt.learners.presets import find_method


def learner_class(method: Method) -> type[Learner]:
    """Return the class that carries a method's options out, imported now where it is named."""
    if not isinstance(method.learner, str):
        return method.learner
    module, _, name = method.learner.partition(":")
    found: type[Learner] = getattr(import_module(module), name)
    return found


def build_learner(
    name: str,
    clip: Clip,
    options: Options | Mapping[str, Any],
    *,
    plan: TextPlan | None = None,
    generator: torch.Generator | None = None,
) -> Learner:
    """Build a learner.

    Args:
        name: one of `diffuprompt.learners.methods.METHODS`.
        clip: frozen backbone.
        options: all of its options, or those that differ from the method's own.
        plan: how text features are computed.
        generator: source of random initial values.

    Raises:
        ConfigError: unknown names and keys, and options that do not fit each other or the towers.
    """
    method = find_method(name)
    if not isinstance(options, Options):
        options = changed(method.options, options, learner=name)
    if type(options) is not type(method.options):
        raise ConfigError(
            f"{name}: expected {type(method.options).__name__}, got {type(options).__name__}"
        )
    refuse(options.misfits(clip.config, clip.tokenizer))
    learner = learner_class(method)(clip, options, plan=plan, generator=generator)
    learner.name = name
    return learner


def upgrade_options(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in an artifact of an earlier version as `build_learner` takes them."""
    return type(find_method(name).options).upgraded(config)
