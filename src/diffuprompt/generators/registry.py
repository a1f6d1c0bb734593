"""Generators by name: build what `KINDS` describes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import FitConfig
from diffuprompt.generators.kinds import KINDS, GeneratorKind
from diffuprompt.prompts import PromptSpec


def generator_class(kind: GeneratorKind) -> type[PromptGenerator]:
    """Return the class that a kind names, imported now."""
    module, _, name = kind.generator.partition(":")
    found: type[PromptGenerator] = getattr(import_module(module), name)
    return found


def build_generator(
    name: str,
    spec: PromptSpec,
    condition_width: int,
    config: Any,
    fitting: FitConfig,
    *,
    seed: int,
    scope: str = "",
) -> PromptGenerator:
    """Return an untrained generator.

    Args:
        name: one of `diffuprompt.generators.kinds.KINDS`.
        spec: what is generated.
        condition_width: E, the width of an image feature.
        config: the generator's own settings, of the type that its kind names.
        fitting: how it is trained.
        seed: gives the initial weights and the noise.
        scope: what the noise belongs to, see `PromptGenerator`.

    Raises:
        ConfigError: the name is unknown, or a setting does not fit the generator.
    """
    if name not in KINDS:
        known = list(KINDS)
        raise ConfigError(
            f"generator: expected one of {known}, got {name!r}.{near_miss(name, known)}"
        )
    kind = KINDS[name]
    assert isinstance(config, kind.config)
    return generator_class(kind)(spec, condition_width, config, fitting, seed=seed, scope=scope)
