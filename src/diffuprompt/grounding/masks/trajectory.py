"""From noise to latents on a grid of noise levels, keeping what the prompts are made of.

Legend: B expression, K kept, C channels; h, w of the latent map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffuprompt.diffusion import Denoise, Schedule, get_sampler, make_grid
from diffuprompt.errors import ConfigError

Keep = Literal["states", "estimates"]
Grid = Literal["leading", "discrete"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """Latents that are kept of one sample per expression.

    Attributes:
        latents: ``(B, K, C, h, w)``, normalised, the cleanest first.
    """

    latents: Tensor


def noise_levels(grid: Grid, schedule: Schedule, nfe: int) -> Tensor:
    """Return ``nfe`` falling sigmas and a 0.

    "discrete" begins at the schedule's largest noise. "leading" are the reference's steps, every
    T // nfe-th from 0 (96, 92, .. 0 of 100), as diffusers' spacing of that name.

    Raises:
        ConfigError: there are fewer steps than asked for.
    """
    if not 1 <= nfe <= schedule.steps:
        raise ConfigError(f"nfe: expected 1 to {schedule.steps} (steps), got {nfe}")
    if grid == "discrete":
        return make_grid("discrete", nfe, schedule)
    step = torch.arange(nfe).flip(0) * (schedule.steps // nfe)
    return torch.cat([schedule.sigma(step + 1), torch.zeros(1, dtype=torch.float64)])


def follow(
    denoise: Denoise,
    noise_BChw: Tensor,
    sigmas: Tensor,
    *,
    sampler: str,
    keep: Keep,
    kept: int,
    generators: Sequence[torch.Generator] | torch.Generator,
) -> Trajectory:
    """Run a sampler from ``noise_BChw``, the unit-variance state at the first of ``sigmas``.

    "states" keeps what stands after the evaluations n, n - 2, n - 4 and so on of n, of unit
    variance, like the release, whose cleanest is the sample itself. "estimates" keeps denoised
    guesses: the last one, which is the sample where the sampler ends with it, and others at even
    distances down to the first one, made of pure noise, which is what is expected before anything
    is drawn. Where there are fewer than ``kept``, some come more than once.
    """
    states: list[Tensor] = []
    guesses: list[Tensor] = []

    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        guess = denoise(x, sigma)
        states.append(x / (1 + sigma.square()).sqrt())
        guesses.append(guess)
        return guess

    x = noise_BChw * float((1 + sigmas[0].square()).sqrt())
    final = get_sampler(sampler)(watched, x, sigmas, generator=generators)
    found = [*states[1:], final] if keep == "states" else [*guesses[:-1], final]
    last = len(found) - 1
    lowest = max(last - 2 * (kept - 1), 0) if keep == "states" else 0
    order = torch.linspace(last, lowest, kept, dtype=torch.float64).round().long().tolist()
    return Trajectory(latents=torch.stack([found[i] for i in order], 1))
