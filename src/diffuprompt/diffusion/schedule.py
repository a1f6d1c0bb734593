"""Noise schedules: discrete betas, continuous time, and the map between time and sigma.

A variance-preserving state is ``sqrt(ab) x0 + sqrt(1 - ab) eps``; the room works with its
variance-exploding twin ``x0 + sigma eps``, ``sigma = sqrt((1 - ab) / ab)``. Everything is kept on
the host, and computed in float64 there.

Tensors of an accelerator are computed where they are and as they are: some have no float64, and
reading them back to check their range would make the host wait. They are held inside the range
instead. No number cancels (``expm1``, ``log1p``), so float32 costs about 1e-6 of a time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffuprompt.errors import ConfigError, near_miss

_ROUNDING = 1e-4  # relative room above sigma_max, so that a float32 sigma_max is accepted


class Schedule:
    """Noise levels for t in [0, T]; ln(alpha_bar) is interpolated linearly between integers.

    Time 0 is clean (``alpha_bar = 1``), ``betas[0]`` leads to t = 1. The interpolation is that of
    DPM-Solver's discrete wrapper (Lu et al. 2022, arXiv 2206.00927, appendix D.1).
    """

    def __init__(self, betas: Tensor) -> None:
        """Build from ``betas`` ``(T,)``.

        Raises:
            ConfigError: ``betas`` has another shape, or values outside (0, 1).
        """
        if betas.ndim != 1 or betas.numel() == 0 or not bool(((betas > 0) & (betas < 1)).all()):
            raise ConfigError(f"betas: expected (T,) values in (0, 1), got {tuple(betas.shape)}")
        self.betas = betas.cpu().double()
        zero = torch.zeros(1, dtype=torch.float64)
        self._log_knots = torch.cat([zero, torch.log1p(-self.betas).cumsum(0)])  # ln ab at 0..T
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}  # of knots elsewhere
        self._sigma_max = float(self.sigma(self.steps))
        self._sigma_min = float(self.sigma(1))

    @property
    def steps(self) -> int:
        """T, the number of discrete steps."""
        return self.betas.numel()

    @property
    def sigma_max(self) -> float:
        """Sigma at t = T, where sampling may start."""
        return self._sigma_max

    @property
    def sigma_min(self) -> float:
        """Sigma at t = 1, the smallest noise that training sees at integer t."""
        return self._sigma_min

    def log_alpha_bar(self, t: Tensor | float) -> Tensor:
        """Return ln(alpha_bar) at continuous ``t`` in [0, T], any shape.

        Raises:
            ConfigError: a ``t`` on the host is outside.
        """
        time = widened(t)
        knots = self._knots(time)
        if not on_host(time):
            time = time.clamp(0, self.steps)
        elif bool(((time < 0) | (time > self.steps)).any()):
            raise ConfigError(f"t: expected values in [0, {self.steps}], got {time.tolist()}")
        left = time.floor().clamp(max=self.steps - 1).long()
        return torch.lerp(_take(knots, left), _take(knots, left + 1), time - left)

    def alpha_bar(self, t: Tensor | float) -> Tensor:
        """Return alpha_bar at continuous ``t`` in [0, T], any shape."""
        return self.log_alpha_bar(t).exp()

    def sigma(self, t: Tensor | float) -> Tensor:
        """Return sigma at continuous ``t`` in [0, T], any shape."""
        return torch.expm1(-self.log_alpha_bar(t)).sqrt()

    def t(self, sigma: Tensor | float) -> Tensor:
        """Return continuous time in [0, T], any shape: the inverse of `sigma`.

        Raises:
            ConfigError: a sigma on the host is negative or above ``sigma_max`` by more than
                rounding.
        """
        noise = widened(sigma)
        limit = self.sigma_max * (1 + _ROUNDING)
        if not on_host(noise):
            noise = noise.clamp(0, limit)
        elif bool(((noise < 0) | (noise > limit)).any()):
            raise ConfigError(
                f"sigma: expected values in [0, {self.sigma_max:.6g}] (this schedule's range), "
                f"got {noise.tolist()}; start the grid at or below sigma_max"
            )
        falling = -torch.log1p(noise.square())
        knots = self._knots(noise)
        right = torch.searchsorted(-knots, -falling.contiguous()).clamp(1, self.steps)
        low, high = _take(knots, right - 1), _take(knots, right)
        return (right - 1 + (falling - low) / (high - low)).clamp(max=float(self.steps))

    @torch.inference_mode(mode=False)  # remembered, so they must also serve later backward passes
    def _knots(self, like: Tensor) -> Tensor:
        """Return ln(alpha_bar) at 0..T where ``like`` is, copied there once."""
        if on_host(like):
            return self._log_knots
        key = (like.device, like.dtype)
        if key not in self._copies:
            self._copies[key] = self._log_knots.to(like.dtype).to(like.device)
        return self._copies[key]


def on_host(value: Tensor) -> bool:
    """Whether reading ``value`` makes nobody wait."""
    return value.device.type == "cpu"


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Return ``values[index]``, which for an index without axes would read it back first."""
    return values.gather(0, index.reshape(-1)).reshape(index.shape)


def widened(value: Tensor | float) -> Tensor:
    """Return numbers and tensors of the host in float64, others as they are."""
    if isinstance(value, Tensor) and not on_host(value):
        return value
    return torch.as_tensor(value, dtype=torch.float64)


def linear(steps: int = 100) -> Schedule:
    """DDPM's linear betas (Ho et al. 2020, arXiv 2006.11239) rescaled by 1000 / T.

    1e-4..0.02 becomes 1e-3..0.2 at T = 100. Without the rescaling alpha_bar would end at 0.36 and
    a start from pure noise would be wrong.
    """
    scale = 1000 / steps
    if 0.02 * scale >= 1:
        raise ConfigError(f"steps: the linear schedule needs more than 20, got {steps}")
    return Schedule(torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64))


def cosine(steps: int = 100, *, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """Cosine alpha_bar with clipped betas (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17)."""
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    alpha_bar = torch.cos((u + offset) / (1 + offset) * math.pi / 2).square()
    return Schedule((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta))


def make_schedule(name: str = "linear", steps: int = 100) -> Schedule:
    """Return a schedule by name.

    Raises:
        ConfigError: the name is unknown.
    """
    known = {"linear": linear, "cosine": cosine}
    if name not in known:
        hint = near_miss(name, list(known))
        raise ConfigError(f"schedule: expected one of {sorted(known)}, got {name!r}.{hint}")
    return known[name](steps)
