"""The noise of a schedule's steps in plain numbers, so that settings are checked without torch.

The numbers are those of `diffuprompt.diffusion.schedule` to rounding; tests compare the two.
"""

from __future__ import annotations

import math
from functools import cache


def smallest_sigma(schedule: str, steps: int) -> float:
    """Return sigma at t = 1 of a schedule by name with T = ``steps``."""
    return _levels(schedule, steps)[0]


def first_step(schedule: str, steps: int, sigma: float) -> int:
    """Return the integer t nearest to the time of ``sigma``; T for more noise than there is."""
    levels = _levels(schedule, steps)
    if sigma >= levels[-1]:
        return steps
    knots = [0.0, *(math.log1p(level**2) for level in levels)]
    wanted = math.log1p(sigma**2)
    right = next(t for t, knot in enumerate(knots) if knot > wanted)
    low, high = knots[right - 1], knots[right]
    return round(right - 1 + (wanted - low) / (high - low))


@cache
def _levels(schedule: str, steps: int) -> tuple[float, ...]:
    """Return sigma at t = 1..T."""
    betas = _linear(steps) if schedule == "linear" else _cosine(steps)
    sigmas, falling = [], 0.0  # falling: -ln(alpha_bar)
    for beta in betas:
        falling -= math.log1p(-beta)
        sigmas.append(math.sqrt(math.expm1(falling)))
    return tuple(sigmas)


def _linear(steps: int) -> list[float]:
    first, last = 0.1 / steps, 20 / steps
    return [first + (last - first) * i / (steps - 1) for i in range(steps)]


def _cosine(steps: int) -> list[float]:
    def alpha_bar(t: int) -> float:
        return math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    return [min(1 - alpha_bar(t + 1) / alpha_bar(t), 0.999) for t in range(steps)]
