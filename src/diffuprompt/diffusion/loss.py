"""The denoising loss and the noise levels that it trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffuprompt.diffusion.sampling import Denoise, draw_noise
from diffuprompt.diffusion.schedule import Schedule
from diffuprompt.diffusion.targets import per_row

Times = Literal["continuous", "discrete"]


@dataclass(frozen=True, kw_only=True)
class Denoised:
    """One noisy look at a batch.

    ``loss`` is a scalar, ``x0`` the guess ``(B, ...)`` with its graph (the task loss is put on
    it), ``sigma`` the noise levels ``(B,)``.
    """

    loss: Tensor
    x0: Tensor
    sigma: Tensor


def draw_sigma(
    batch: int, schedule: Schedule, generator: torch.Generator, *, times: Times = "continuous"
) -> Tensor:
    """Draw ``(B,)`` noise levels in float64: t uniform on [1, T], or on the integers 1..T.

    Continuous t is the default because few-step solvers evaluate between the integers; the
    integers are Ho et al. 2020, arXiv 2006.11239, algorithm 1.
    """
    device = generator.device
    if times == "discrete":
        t = torch.randint(1, schedule.steps + 1, (batch,), generator=generator, device=device)
        return schedule.sigma(t)
    u = torch.rand(batch, generator=generator, device=device, dtype=torch.float64)
    return schedule.sigma(1 + u * (schedule.steps - 1))


def denoising_loss(
    denoise: Denoise,
    x0: Tensor,
    schedule: Schedule,
    *,
    generator: torch.Generator,
    times: Times = "continuous",
) -> Denoised:
    """Unweighted MSE on x0 at random noise (arXiv 2410.20164, eq. 7), mean over all coordinates.

    A mean, not the paper's sum, so that its weight against a task loss does not depend on the
    number of coordinates.

    Args:
        denoise: ``(x, sigma_B) -> x0``.
        x0: clean targets ``(B, ...)``, normalised to unit variance.
        schedule: where noise levels are drawn.
        generator: the only source of randomness: first the levels, then the noise.
        times: `draw_sigma`.
    """
    sigma = draw_sigma(x0.shape[0], schedule, generator, times=times).to(x0)
    x = x0 + per_row(sigma, x0) * draw_noise(x0, generator)
    guess = denoise(x, sigma)
    return Denoised(loss=(guess - x0).square().mean(), x0=guess, sigma=sigma)
