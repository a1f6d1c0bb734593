"""Samplers with one evaluation per interval and no memory: DDPM, DDIM, Euler and two references.

From level a to b < a with ``m = D(x, a)``. In VE coordinates DDPM's posterior (Ho et al. 2020,
eq. 7) of a step from a to b, skipped steps included, is
``N(m + (b/a)^2 (x - m), b^2 (a^2 - b^2) / a^2)``.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor

from diffuprompt.diffusion import sampling
from diffuprompt.diffusion.sampling import Denoise, Generators, at, levels


def ddpm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generators = None,
    variance: Literal["small", "large"] = "small",
) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, arXiv 2006.11239, eqs. 7 and 11; algorithm 2).

    ``variance`` is the posterior's ("small") or the forward step's ("large"). The step to 0 draws
    no noise. N - 1 evaluations.
    """
    for a, b in pairwise(levels(sigmas)):
        m = denoise(x, at(a, x))
        x = m + (b / a) ** 2 * (x - m)
        if b > 0:
            var = (a * a - b * b) * (b * b / (a * a))
            if variance == "large":
                var = (a * a - b * b) * ((1 + b * b) / (1 + a * a))
            x = x + math.sqrt(var) * sampling.draw_noise(x, generator)
    return x


def ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    generator: Generators = None,
    eta: float = 0.0,
) -> Tensor:
    """Implicit sampling (Song et al. 2020, arXiv 2010.02502, eqs. 12 and 16).

    ``eta`` 0 is the deterministic first-order solver (and draws nothing), 1 is `ddpm` with the
    small variance. N - 1 evaluations.
    """
    for a, b in pairwise(levels(sigmas)):
        m = denoise(x, at(a, x))
        var = eta * eta * (a * a - b * b) * (b * b / (a * a))
        x = m + math.sqrt(b * b - var) / a * (x - m)
        if var > 0:
            x = x + math.sqrt(var) * sampling.draw_noise(x, generator)
    return x


def euler(denoise: Denoise, x: Tensor, sigmas: Tensor, *, generator: Generators = None) -> Tensor:
    """Euler's method on dx/dsigma = (x - D) / sigma (Karras et al. 2022, arXiv 2206.00364, eq. 3).

    Equal to DDIM with eta 0 and to DPM-Solver-1. N - 1 evaluations.
    """
    for a, b in pairwise(levels(sigmas)):
        x = euler_step(x, denoise(x, at(a, x)), a, b)
    return x


def euler_step(x: Tensor, m: Tensor, a: float, b: float) -> Tensor:
    """Return the first-order step ``(b/a) x + (1 - b/a) m``; exactly ``m`` for b = 0."""
    return m if b == 0 else (b / a) * x + (1 - b / a) * m


def regress(denoise: Denoise, x: Tensor, sigmas: Tensor, *, generator: Generators = None) -> Tensor:
    """One call ``D(0, sigma_max)``, no noise: the network as a regression E[x0 | condition].

    A control for arXiv 2410.20164: does sampling add anything? 1 evaluation. A network trained on
    noise never saw 0 and may answer badly there; `euler` on the grid (sigma_max, 0) asks at pure
    noise instead, which says as little of x0 and is what training saw.
    """
    return denoise(0 * x, at(levels(sigmas)[0], x))


def x0_feedback(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, generator: Generators = None
) -> Tensor:
    """Feed the raw x0-guess back as the next VP state (released code of ProtoDiff, NeurIPS 2023).

    No re-noising and no DDIM weights, so not a sampler of the diffusion process; kept to test what
    such results mean. The guess becomes ``m sqrt(1 + b^2)`` in VE. N - 1 evaluations.
    """
    m = x
    for a, b in pairwise(levels(sigmas)):
        m = denoise(x, at(a, x))
        x = m * math.sqrt(1 + b * b)
    return m
