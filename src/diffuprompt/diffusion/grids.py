"""Grids of noise levels: N falling sigmas from ``sigma_max`` to ``sigma_min``, in float64.

With ``append_zero`` a final 0 follows: the last step then returns the denoiser's x0 at
``sigma_min``, at the price of one evaluation ("denoise to zero").
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffuprompt.diffusion.schedule import Schedule
from diffuprompt.errors import ConfigError, near_miss

_U_MIN = 1e-3  # smallest time of the continuous VP process


def polynomial(
    num_points: int,
    sigma_max: float,
    sigma_min: float,
    *,
    rho: float = 7.0,
    append_zero: bool = False,
) -> Tensor:
    """Equal steps in ``sigma^(1/rho)`` (Karras et al. 2022, arXiv 2206.00364, eq. 5)."""
    u = _unit(num_points, sigma_max, sigma_min)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _finish((high + u * (low - high)) ** rho, sigma_max, sigma_min, append_zero)


def log_snr(
    num_points: int, sigma_max: float, sigma_min: float, *, append_zero: bool = False
) -> Tensor:
    """Equal steps in ln(sigma) (Lu et al. 2022, arXiv 2206.00927, section 4.4)."""
    u = _unit(num_points, sigma_max, sigma_min)
    return _finish(sigma_max * (sigma_min / sigma_max) ** u, sigma_max, sigma_min, append_zero)


def time_uniform(
    num_points: int,
    sigma_max: float,
    sigma_min: float,
    *,
    rho: float = 1.0,
    append_zero: bool = False,
) -> Tensor:
    """Equal steps in the time of the continuous linear-beta process (arXiv 2011.13456, eq. 33).

    ``sigma(u) = sqrt(exp(b_d u^2 / 2 + b_m u) - 1)`` for u from 1 to 1e-3, with both coefficients
    fitted to the two ends.
    """
    i = _unit(num_points, sigma_max, sigma_min)
    log_high = torch.log1p(torch.tensor(sigma_max, dtype=torch.float64) ** 2)
    log_low = torch.log1p(torch.tensor(sigma_min, dtype=torch.float64) ** 2)
    slope = 2 * (log_low / _U_MIN - log_high) / (_U_MIN - 1)
    base = log_high - slope / 2
    u = (1 + i * (_U_MIN ** (1 / rho) - 1)) ** rho
    sigmas = torch.expm1(slope * u.square() / 2 + base * u).sqrt()
    return _finish(sigmas, sigma_max, sigma_min, append_zero)


def discrete(
    num_points: int,
    sigma_max: float,
    sigma_min: float,
    *,
    schedule: Schedule,
    append_zero: bool = False,
) -> Tensor:
    """Integer t, as evenly spaced as rounding allows (Song et al. 2020, arXiv 2010.02502).

    The ends are the integers nearest to the given sigmas. T points give every step of DDPM.

    Raises:
        ConfigError: there are fewer integers in the range than points.
    """
    u = _unit(num_points, sigma_max, sigma_min)
    first, last = schedule.t(sigma_max).round(), schedule.t(sigma_min).round().clamp(min=1)
    t = (first + u * (last - first)).round()
    if t.unique().numel() < num_points:
        raise ConfigError(
            f"num_points: t from {int(first)} to {int(last)} holds "
            f"{int(first - last) + 1} integers, got {num_points}; ask for fewer points"
        )
    sigmas = schedule.sigma(t)
    return _finish(sigmas, float(sigmas[0]), float(sigmas[-1]), append_zero)


GRIDS: dict[str, Callable[..., Tensor]] = {
    "polynomial": polynomial,
    "log_snr": log_snr,
    "time_uniform": time_uniform,
    "discrete": discrete,
}


def make_grid(
    name: str,
    num_points: int,
    schedule: Schedule,
    *,
    sigma_max: float | None = None,
    sigma_min: float | None = None,
    append_zero: bool = True,
) -> Tensor:
    """Return a grid by name; the ends default to the schedule's own.

    Raises:
        ConfigError: the name is unknown, or the sigmas do not fall inside the schedule's range.
    """
    if name not in GRIDS:
        hint = near_miss(name, list(GRIDS))
        raise ConfigError(f"grid: expected one of {sorted(GRIDS)}, got {name!r}.{hint}")
    high = schedule.sigma_max if sigma_max is None else sigma_max
    low = schedule.sigma_min if sigma_min is None else sigma_min
    schedule.t(high)  # raises when out of range
    extra = {"schedule": schedule} if name == "discrete" else {}
    return GRIDS[name](num_points, high, low, append_zero=append_zero, **extra)


def _unit(num_points: int, sigma_max: float, sigma_min: float) -> Tensor:
    if num_points < 1:
        raise ConfigError(f"num_points: expected at least 1, got {num_points}")
    if not 0 < sigma_min < sigma_max:
        raise ConfigError(
            f"sigma_min, sigma_max: expected 0 < sigma_min < sigma_max, "
            f"got {sigma_min} and {sigma_max}"
        )
    return torch.linspace(0, 1, num_points, dtype=torch.float64)


def _finish(sigmas: Tensor, sigma_max: float, sigma_min: float, append_zero: bool) -> Tensor:
    """Remove the rounding at both ends, then append the zero."""
    values = sigmas.tolist()
    if len(values) > 1:
        values[-1] = sigma_min
    values[0] = sigma_max
    return torch.tensor([*values, 0.0] if append_zero else values, dtype=torch.float64)
