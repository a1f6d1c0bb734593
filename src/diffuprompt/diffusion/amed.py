"""AMED-Solver: two evaluations per interval, at a place and with a weight that were fitted.

From level a to b < a with ``m = D(x, a)``: ``c = b^r a^(1-r)``, ``y = x + (c - a)(x - m) / a``,
``x <- x + c_n (b - a)(y - D(y, c)) / c`` (Zhou et al. 2023, arXiv 2312.00094). The pair (r, c_n) is
chosen an interval and a row; r = 1/2 with c_n = 1 is DPM-Solver-2. The authors' third number, which
scales the time that the network is told, is off in their AMED-Solver and absent here.

A deviation for prompts: a grid that ends at 0 lands there in the last interval, whose mid-point
stays between its start and the last positive level. So it returns x0, as other samplers do there,
and a denoiser that answers 0 gives exactly 0 while c_n = 1.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from diffuprompt.diffusion.sampling import Denoise, Generators, at, levels
from diffuprompt.diffusion.targets import per_row
from diffuprompt.errors import ConfigError


class Look(NamedTuple):
    """What the evaluation at an interval's start shows: x0, and what pairs are chosen from.

    ``features`` is ``(B, K)``, or None where nothing was evaluated (the analytic first step).
    """

    x0: Tensor
    features: Tensor | None


class Pairs(Protocol):
    """Where (r, c_n) come from: `AmedPredictor`, or numbers given (`FixedPairs`)."""

    def look(self, denoise: Denoise, x: Tensor, sigma: Tensor) -> Look:
        """Evaluate once at an interval's start."""
        ...

    def pair(self, interval: int, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return r in (0, 1) and c_n, each a scalar or ``(B,)``."""
        ...


class FixedPairs:
    """Given numbers, one (r, c_n) per interval, the same for all rows."""

    def __init__(self, r: Tensor, c_n: Tensor) -> None:
        """Take ``r`` and ``c_n``, ``(N - 1,)`` for a grid of N points."""
        self.r, self.c_n = r, c_n

    def look(self, denoise: Denoise, x: Tensor, sigma: Tensor) -> Look:
        """Evaluate; nothing but x0 is needed."""
        return Look(denoise(x, sigma), None)

    def pair(self, interval: int, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the numbers of ``interval``."""
        return self.r[interval], self.c_n[interval]


class Interval(NamedTuple):
    """From level ``a`` to ``b``; the mid-point lies between ``a`` and ``low``, which is b or above.

    ``low`` differs from ``b`` only where b is 0.
    """

    a: float
    b: float
    low: float


def intervals(sigmas: Tensor) -> list[Interval]:
    """Return the intervals of a grid ``(N,)``; a last 0 replaces the last positive level.

    Raises:
        ConfigError: not a falling grid, or a final 0 leaves fewer than two levels.
    """
    grid = levels(sigmas)
    if grid[-1] > 0:
        return [Interval(a, b, b) for a, b in pairwise(grid)]
    if len(grid) < 3:
        raise ConfigError(f"sigmas: AMED needs two levels above a last 0, got {grid}")
    found = [Interval(a, b, b) for a, b in pairwise(grid[:-1])]
    return [*found[:-1], found[-1]._replace(b=0.0)]


def plan(nfe: int) -> tuple[int, bool]:
    """Return (positive levels, analytic first step?) that make exactly ``nfe`` evaluations.

    Raises:
        ConfigError: ``nfe`` is below 1.
    """
    if nfe < 1:
        raise ConfigError(f"nfe: AMED needs at least 1 evaluation, got {nfe}")
    return (nfe + 1) // 2 + 1, nfe % 2 == 1


def amed(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generators = None,
    pairs: Pairs,
    afs: bool = True,
) -> Tensor:
    """AMED-Solver (Zhou et al. 2023, arXiv 2312.00094); draws no noise.

    Args:
        denoise: ``(x, sigma) -> x0``; it is asked at one sigma per row where pairs differ by row.
        x: ``(B, ...)`` at ``sigmas[0]``.
        sigmas: the grid; see the module for what a last 0 does.
        generator: not used.
        pairs: where (r, c_n) come from.
        afs: take the first slope from the prior instead of an evaluation (`analytic_x0`).

    Of N positive levels it takes 2 (N - 1) evaluations, one less with ``afs``.
    """
    for i, interval in enumerate(intervals(sigmas)):
        if afs and i == 0:
            seen = Look(analytic_x0(x, interval.a), None)
        else:
            seen = pairs.look(denoise, x, at(interval.a, x))
        x = amed_step(denoise, x, seen.x0, interval, *pairs.pair(i, seen.features))
    return x


def analytic_x0(x: Tensor, sigma: float) -> Tensor:
    """Return the x0 of the analytic first step: ``eps = x / sqrt(1 + sigma^2)``, no evaluation.

    It takes the unit-variance state for pure noise (Dockhorn et al. 2022, arXiv 2210.05475).
    """
    return (1 - sigma / math.sqrt(1 + sigma * sigma)) * x


def amed_step(
    denoise: Denoise, x: Tensor, x0: Tensor, interval: Interval, r: Tensor, c_n: Tensor
) -> Tensor:
    """Carry ``x`` over one interval with one evaluation; ``x0`` is what is known at its start.

    Written so that x drops out exactly where b = 0 and c_n = 1.
    """
    a, b, low = interval
    level = torch.exp(r * math.log(low) + (1 - r) * math.log(a)).to(x)
    c, weight = per_row(level, x), per_row(c_n.to(x), x)
    known = (1 - c / a) * x0
    slope = known - denoise(c / a * x + known, level)  # times c, less the part along x
    return (1 + weight * (b - a) / a) * x + weight * (b - a) / c * slope
