"""Second-order samplers that evaluate twice inside an interval: Heun, DPM-Solver-2, DPM++(2S).

From level a to b < a with ``m = D(x, a)`` and ``d = (x - m) / a``; the midpoint is
``c = b^r a^(1-r)``. A step to b = 0 is a plain first-order step and returns m. A grid of N points
costs 2 (N - 1) evaluations, one less when it ends at 0.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from diffuprompt.diffusion.samplers_first_order import euler_step
from diffuprompt.diffusion.sampling import Denoise, Generators, at, levels
from diffuprompt.errors import ConfigError


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, *, generator: Generators = None) -> Tensor:
    """Heun's trapezoid (Karras et al. 2022, arXiv 2206.00364, algorithm 1)."""
    for a, b in pairwise(levels(sigmas)):
        m = denoise(x, at(a, x))
        y = euler_step(x, m, a, b)
        if b > 0:
            d_start, d_end = (x - m) / a, (y - denoise(y, at(b, x))) / b
            y = x + (b - a) / 2 * (d_start + d_end)
        x = y
    return x


def dpm_solver_2(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generators = None,
    r: float = 0.5,
) -> Tensor:
    """DPM-Solver-2 in VE form (Lu et al. 2022, arXiv 2206.00927, algorithm 4 for general r).

    ``r`` in (0, 1] places the second evaluation in ln(sigma); 1/2 is the midpoint.
    """
    _check_r(r)
    for a, b in pairwise(levels(sigmas)):
        m = denoise(x, at(a, x))
        if b == 0:
            return m
        c = b**r * a ** (1 - r)
        d = (x - m) / a
        y = x + (c - a) * d
        d_mid = (y - denoise(y, at(c, x))) / c
        x = x + (b - a) * (d_mid / (2 * r) + (1 - 1 / (2 * r)) * d)
    return x


def dpmpp_2s(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generators = None,
    r: float = 0.5,
) -> Tensor:
    """DPM-Solver++(2S) (Lu et al. 2022, arXiv 2211.01095, algorithm 1)."""
    _check_r(r)
    for a, b in pairwise(levels(sigmas)):
        m = denoise(x, at(a, x))
        if b == 0:
            return m
        c = b**r * a ** (1 - r)
        h = math.log(a / b)
        y = (c / a) * x - math.expm1(-r * h) * m
        m_mid = denoise(y, at(c, x))
        blend = (1 - 1 / (2 * r)) * m + m_mid / (2 * r)
        x = (b / a) * x - math.expm1(-h) * blend
    return x


def _check_r(r: float) -> None:
    if not 0 < r <= 1:
        raise ConfigError(f"r: expected a value in (0, 1], got {r}")
