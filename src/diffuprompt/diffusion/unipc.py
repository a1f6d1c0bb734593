"""UniPC: a multistep predictor, corrected with the evaluation that the next step needs anyway.

From level a to b < a, ``h = ln(a/b)``, ``r_k = ln(a / s_k) / h`` for a point at level s_k (negative
for the past, 1 for the new point), ``p1 = e^-h - 1``:
``x <- (b/a) x - p1 m0 - B sum_k rho_k (m_k - m0) / r_k`` with ``R rho = b``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from diffuprompt.diffusion.samplers_multistep import step_order
from diffuprompt.diffusion.sampling import Denoise, Generators, at, levels
from diffuprompt.errors import ConfigError

Variant = Literal["bh1", "bh2"]


def unipc(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generators = None,
    order: int = 2,
    variant: Variant = "bh2",
    corrector: bool = True,
    lower_order_final: bool = True,
) -> Tensor:
    """UniPC-p with x0-prediction (Zhao et al. 2023, arXiv 2302.04867, algorithms 1 and 2).

    Each corrector has the order of the predictor it corrects plus the new point, and there is none
    after the last point; so a grid of N points costs N - 1 evaluations. ``corrector=False`` is
    UniP. ``lower_order_final`` as in `samplers_multistep`; a step to 0 returns the last x0.

    Raises:
        ConfigError: ``order`` is not 1, 2 or 3.
    """
    if order not in (1, 2, 3):
        raise ConfigError(f"order: expected 1, 2 or 3, got {order}")
    grid = levels(sigmas)
    past: list[Tensor] = []  # newest first; past[k] was evaluated at grid[i - 1 - k]
    start = x  # state at the previous point, where the corrector starts again
    used = 0  # order of the previous predictor
    for i, (a, b) in enumerate(pairwise(grid)):
        m = denoise(x, at(a, x))
        if corrector and i > 0:
            points = [(a, m), *_older(grid, past, i - 1, used)]
            x = _update(start, past[0], grid[i - 1], a, points, variant)
        past = [m, *past[: order - 1]]
        if b == 0:
            return m
        used = step_order(order, i, len(grid) - 1, lower_order_final)
        start, x = x, _update(x, m, a, b, _older(grid, past, i, used), variant)
    return x


def _older(
    grid: Sequence[float], past: Sequence[Tensor], i: int, order: int
) -> list[tuple[float, Tensor]]:
    """Return the ``order - 1`` evaluations before point ``i``, with their levels."""
    return [(grid[i - k], past[k]) for k in range(1, order)]


def _update(
    x: Tensor,
    m0: Tensor,
    a: float,
    b: float,
    points: Sequence[tuple[float, Tensor]],
    variant: Variant,
) -> Tensor:
    """Step from a to b with slopes to the given (level, evaluation) points."""
    h = math.log(a / b)
    p1 = math.expm1(-h)
    x = (b / a) * x - p1 * m0
    if not points:
        return x
    scale = p1 if variant == "bh2" else -h
    nodes = [math.log(a / s) / h for s, _ in points]
    for (_, m), node, rho in zip(points, nodes, _weights(nodes, h, scale), strict=True):
        x = x - scale * rho / node * (m - m0)
    return x


def _weights(nodes: list[float], h: float, scale: float) -> list[float]:
    """Solve ``R rho = b`` (eq. 9); one node takes 1/2, the authors' choice for both variants."""
    if len(nodes) == 1:
        return [0.5]
    matrix, right = [], []
    phi = math.expm1(-h) / -h - 1
    for i in range(1, len(nodes) + 1):
        matrix.append([node ** (i - 1) for node in nodes])
        right.append(math.factorial(i) * phi / scale)
        phi = phi / -h - 1 / math.factorial(i + 1)
    system = torch.tensor(matrix, dtype=torch.float64)
    solution = torch.linalg.solve(system, torch.tensor(right, dtype=torch.float64))
    return [float(v) for v in solution.tolist()]
