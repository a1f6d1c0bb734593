"""The denoising loss and the noise levels that it trains on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffuprompt.diffusion.parametrisation import loss_weight
from diffuprompt.diffusion.sampling import Denoise, draw_noise
from diffuprompt.diffusion.schedule import Schedule
from diffuprompt.diffusion.targets import per_row
from diffuprompt.engine import moved
from diffuprompt.errors import ConfigError, near_miss

NOISES = ("time", "steps", "log_normal", "uniform_u")
LOG_MEAN, LOG_STD = 0.0, 1.4


@dataclass(frozen=True, kw_only=True)
class Denoised:
    """One noisy look at a batch.

    ``loss`` is a scalar, ``x0`` the guess ``(B, ...)`` with its graph (the task loss is put on
    it), ``sigma`` the noise levels ``(B,)`` where they were drawn, usually on the host.
    """

    loss: Tensor
    x0: Tensor
    sigma: Tensor


def draw_sigma(
    batch: int, schedule: Schedule, generator: torch.Generator, *, noise: str = "time"
) -> Tensor:
    """Draw ``(B,)`` noise levels (in float64 on the CPU), by one of four densities.

    "time": t uniform on [1, T], the default because few-step solvers evaluate between the integers.
    "steps": the integers 1..T (Ho et al. 2020, arXiv 2006.11239, algorithm 1).
    "log_normal": ln sigma ~ N(0, 1.4), EDM's density (arXiv 2206.00364, table 1) for data of
    standard deviation 1, at the wide end so that the start of sampling is trained too. It is also
    the logit-normal u of flow matching, as ln sigma = logit(u) (arXiv 2403.03206, section 3.1).
    "uniform_u": u = sigma / (1 + sigma) uniform on the straight path (arXiv 2209.03003).

    The last two are cut to the schedule's range, beyond which nothing is ever sampled; of
    "log_normal" 0.7 % lie below the linear schedule's and 0.006 % above.

    Raises:
        ConfigError: the name is unknown.
    """
    device = generator.device
    dtype = torch.float64 if device.type == "cpu" else torch.float32  # some have nothing else
    if noise == "steps":
        t = torch.randint(1, schedule.steps + 1, (batch,), generator=generator, device=device)
        return schedule.sigma(t)
    if noise == "log_normal":
        z = torch.randn(batch, generator=generator, device=device, dtype=dtype)
        sigma = (LOG_MEAN + LOG_STD * z).exp()
        return sigma.clamp(schedule.sigma_min, schedule.sigma_max)
    u = torch.rand(batch, generator=generator, device=device, dtype=dtype)
    if noise == "uniform_u":
        return (u / (1 - u)).clamp(schedule.sigma_min, schedule.sigma_max)
    if noise != "time":
        hint = near_miss(noise, list(NOISES))
        raise ConfigError(f"noise: expected one of {list(NOISES)}, got {noise!r}.{hint}")
    return schedule.sigma(1 + u * (schedule.steps - 1))


def denoising_loss(
    denoise: Denoise,
    x0: Tensor,
    schedule: Schedule,
    *,
    generator: torch.Generator,
    noise: str = "time",
    prediction: str = "x0",
    weight: str = "unit",
) -> Denoised:
    """Weighted MSE on x0 at random noise, mean over all coordinates.

    The defaults are arXiv 2410.20164, eq. 7. A mean, not the paper's sum, so that its weight
    against a task loss does not depend on the number of coordinates.

    Args:
        denoise: ``(x, sigma_B) -> x0``.
        x0: clean targets ``(B, ...)``, normalised to unit variance.
        schedule: where noise levels are drawn.
        generator: the only source of randomness: first the levels, then the noise.
        noise: `draw_sigma`.
        prediction: what the network behind ``denoise`` predicts; "unit" weights are even on it.
        weight: `loss_weight`.
    """
    drawn = draw_sigma(x0.shape[0], schedule, generator, noise=noise).to(x0.dtype)
    sigma = moved(drawn, x0)
    x = x0 + per_row(sigma, x0) * draw_noise(x0, generator)
    guess = denoise(x, sigma)
    weighed = per_row(loss_weight(weight, prediction, sigma), x0) * (guess - x0).square()
    return Denoised(loss=weighed.mean(), x0=guess, sigma=drawn)
