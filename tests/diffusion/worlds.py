"""Data distributions whose denoiser, and whose probability flow, are known in closed form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from tests.conftest import _shared
from torch import Tensor

from diffuprompt.diffusion.sampling import Denoise
from diffuprompt.diffusion.targets import per_row

WEIGHTS, MEANS, STD = (0.3, 0.7), (-1.0, 1.5), 0.4  # the mixture of the reference vectors


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


def mixture_cdf(x: float, sigma: float) -> float:
    """F_sigma(x) of the noisy reference mixture; the probability flow keeps it constant."""
    scale = (STD**2 + sigma**2) ** 0.5
    z = (x - torch.tensor(MEANS, dtype=torch.float64)) / scale
    return float((torch.tensor(WEIGHTS, dtype=torch.float64) * torch.special.ndtr(z)).sum())


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference_vectors() -> dict[str, Any]:
    """Read the vectors that came with the data; skip without them, fail in CI."""
    return json.loads((_shared("reference") / "sampler_vectors.json").read_text())
