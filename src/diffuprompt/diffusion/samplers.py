"""The registry: every sampler by name, with the options that make it one thing."""

from __future__ import annotations

from functools import partial

from diffuprompt.diffusion.samplers_first_order import ddim, ddpm, euler, regress, x0_feedback
from diffuprompt.diffusion.samplers_multistep import dpmpp_2m, dpmpp_3m
from diffuprompt.diffusion.samplers_singlestep import dpm_solver_2, dpmpp_2s, heun
from diffuprompt.diffusion.sampling import Sampler
from diffuprompt.diffusion.unipc import unipc
from diffuprompt.errors import ConfigError, near_miss

SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddpm_large": partial(ddpm, variance="large"),
    "ddim": ddim,
    "euler": euler,
    "heun": heun,
    "dpm_solver_2": dpm_solver_2,
    "dpmpp_2s": dpmpp_2s,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_3m": dpmpp_3m,
    "unipc2": partial(unipc, order=2),
    "unipc3": partial(unipc, order=3),
    "regress": regress,
    "x0_feedback": x0_feedback,
}

NEEDS_NOISE = frozenset({"ddpm", "ddpm_large"})
"""Samplers that draw noise on the way and therefore need a generator."""

NEEDS_FIT = frozenset({"amed"})
"""Samplers that are fitted to a denoiser and a grid; `amed_predictor.AmedPredictor` is the one."""


def get_sampler(name: str) -> Sampler:
    """Return a sampler of `SAMPLERS`.

    Raises:
        ConfigError: the name is unknown, or one of `NEEDS_FIT`.
    """
    if name in NEEDS_FIT:
        raise ConfigError(
            f"sampler: {name!r} has fitted parameters and cannot be had by name alone; train with "
            f"diffusion.sampler={name}, or take one of {sorted(SAMPLERS)}"
        )
    if name not in SAMPLERS:
        hint = near_miss(name, [*SAMPLERS, *NEEDS_FIT])
        known = sorted([*SAMPLERS, *NEEDS_FIT])
        raise ConfigError(f"sampler: expected one of {known}, got {name!r}.{hint}")
    return SAMPLERS[name]
