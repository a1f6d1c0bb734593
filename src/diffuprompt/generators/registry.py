"""Generators by name."""

from __future__ import annotations

from typing import Any

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import KINDS, FitConfig
from diffuprompt.generators.flow import PromptFlow
from diffuprompt.generators.gan import PromptGan
from diffuprompt.generators.mlp import PromptMlp
from diffuprompt.generators.prompt_diffusion import PromptDiffusion
from diffuprompt.generators.rival_transformer import PromptTransformer
from diffuprompt.generators.vae import PromptVae
from diffuprompt.prompts import PromptSpec

_EVERY = (PromptDiffusion, PromptMlp, PromptTransformer, PromptGan, PromptVae, PromptFlow)
GENERATORS: dict[str, type[PromptGenerator]] = {kind.name: kind for kind in _EVERY}


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
        name: one of `diffuprompt.generators.config.KINDS`.
        spec: what is generated.
        condition_width: E, the width of an image feature.
        config: the generator's own settings, of the type that its kind names.
        fitting: how it is trained.
        seed: gives the initial weights and the noise.
        scope: what the noise belongs to, see `PromptGenerator`.

    Raises:
        ConfigError: the name is unknown, or a setting does not fit the generator.
    """
    if name not in GENERATORS:
        known = list(GENERATORS)
        raise ConfigError(
            f"generator: expected one of {known}, got {name!r}.{near_miss(name, known)}"
        )
    assert isinstance(config, KINDS[name].config)
    return GENERATORS[name](spec, condition_width, config, fitting, seed=seed, scope=scope)
