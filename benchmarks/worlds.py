"""Data distributions whose denoiser, and whose probability flow, are known in closed form.

The samplers' benchmark measures against them, and the tests of ``diffusion/`` too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffuprompt.diffusion import Denoise, per_row

WEIGHTS, MEANS, STD = (0.3, 0.7), (-1.0, 1.5), 0.4  # the mixture of the reference vectors
_BISECTIONS = 60  # of an interval below 10^4: to 1e-14


def gaussian_denoiser(mu: float | Tensor, std: float | Tensor) -> Denoise:
    """E[x0 | x] for x0 ~ N(mu, std^2), coordinates independent; mu, std broadcast over x."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        s = per_row(sigma, x)
        return mu + std**2 / (std**2 + s**2) * (x - mu)

    return denoise


def gaussian_flow(x: Tensor, a: float, b: float, mu: float, std: float) -> Tensor:
    """The exact probability flow from sigma a to b for N(mu, std^2)."""
    return mu + (x - mu) * ((std**2 + b**2) / (std**2 + a**2)) ** 0.5


def mixture_denoiser(
    weights: Sequence[float] = WEIGHTS, means: Sequence[float] = MEANS, std: float = STD
) -> Denoise:
    """E[x0 | x] for x0 ~ sum_k w_k N(mu_k, std^2), every coordinate alike."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        s = per_row(sigma, x)
        mu = torch.tensor(means, dtype=x.dtype)
        off = x[..., None] - mu
        total = std**2 + s[..., None] ** 2
        log_p = torch.tensor(weights, dtype=x.dtype).log() - off**2 / (2 * total)
        return (log_p.softmax(-1) * (mu + std**2 / total * off)).sum(-1)

    return denoise


def mixture_cdf(x: Tensor, sigma: float) -> Tensor:
    """F_sigma(x) of the noisy reference mixture in float64, any shape; the flow keeps it."""
    scale = (STD**2 + sigma**2) ** 0.5
    z = (x.double()[..., None] - torch.tensor(MEANS, dtype=torch.float64)) / scale
    return (torch.tensor(WEIGHTS, dtype=torch.float64) * torch.special.ndtr(z)).sum(-1)


def mixture_flow(x: Tensor, a: float, b: float) -> Tensor:
    """The exact flow of the reference mixture from sigma a to b: ``F_b(y) = F_a(x)``, bisected.

    float64; x may be up to about six standard deviations out, where F still differs from 1.
    """
    want = mixture_cdf(x, a)
    high = torch.full_like(want, 10 * (1 + b))
    low = -high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = mixture_cdf(middle, b) < want
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def mixture_std() -> float:
    """Standard deviation of the clean reference mixture."""
    (p, q), (left, right) = WEIGHTS, MEANS
    return (STD**2 + p * q * (right - left) ** 2) ** 0.5
