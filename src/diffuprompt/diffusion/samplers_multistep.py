"""DPM-Solver++ multistep: one evaluation per interval, order from past evaluations.

From level a to b < a with ``h = ln(a/b)``; m0 is the newest evaluation, m1 and m2 older ones. With
``lower_order_final`` grids of fewer than 15 intervals end with a step of order 1 (the last but one
has at most order 2), as in the authors' code; so 3M equals 2M at 4 intervals. A step to b = 0 is
always of order 1 and returns m0. A grid of N points costs N - 1 evaluations.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from diffuprompt.diffusion.samplers_first_order import euler_step
from diffuprompt.diffusion.sampling import Denoise, Generators, at, levels

_FEW = 15  # fewer intervals than this end with lowered order


def step_order(order: int, i: int, intervals: int, lower_order_final: bool) -> int:
    """Return the order of interval ``i``, limited by the past and, when lowered, by what is left.

    Source: Lu et al. 2022, arXiv 2211.01095, appendix; the limit of 15 is the authors' code.
    """
    limit = intervals - i if lower_order_final and intervals < _FEW else order
    return min(order, i + 1, limit)


def dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generators = None,
    lower_order_final: bool = True,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2)."""
    return _multistep(denoise, x, sigmas, 2, lower_order_final)


def dpmpp_3m(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generators = None,
    lower_order_final: bool = True,
) -> Tensor:
    """DPM-Solver++(3M) (Lu et al. 2022, arXiv 2211.01095, and the authors' third-order update).

    Its first step has order 1, which limits the observed order to 2.
    """
    return _multistep(denoise, x, sigmas, 3, lower_order_final)


def _multistep(
    denoise: Denoise, x: Tensor, sigmas: Tensor, max_order: int, lower_order_final: bool
) -> Tensor:
    grid = levels(sigmas)
    past: list[Tensor] = []  # newest first
    for i, (a, b) in enumerate(pairwise(grid)):
        past = [denoise(x, at(a, x)), *past[: max_order - 1]]
        order = step_order(max_order, i, len(grid) - 1, lower_order_final)
        if b == 0 or order == 1:
            x = euler_step(x, past[0], a, b)
            continue
        h = math.log(a / b)
        gaps = [math.log(grid[i - k - 1] / grid[i - k]) / h for k in range(order - 1)]
        x = _second(x, past, a, b, gaps[0]) if order == 2 else _third(x, past, a, b, gaps)
    return x


def _second(x: Tensor, past: list[Tensor], a: float, b: float, r0: float) -> Tensor:
    m0, m1 = past[:2]
    return (b / a) * x - math.expm1(-math.log(a / b)) * (m0 + (m0 - m1) / (2 * r0))


def _third(x: Tensor, past: list[Tensor], a: float, b: float, gaps: list[float]) -> Tensor:
    m0, m1, m2 = past
    r0, r1 = gaps
    h = math.log(a / b)
    slope0, slope1 = (m0 - m1) / r0, (m1 - m2) / r1
    first = slope0 + r0 / (r0 + r1) * (slope0 - slope1)
    second = (slope0 - slope1) / (r0 + r1)
    p1 = math.expm1(-h)
    p2 = p1 / h + 1
    p3 = p2 / h - 0.5
    return (b / a) * x - p1 * m0 + p2 * first - p3 * second
