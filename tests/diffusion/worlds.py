"""What the tests of samplers share; the distributions themselves are `benchmarks.worlds`."""

from __future__ import annotations

import json
from typing import Any

import torch
from benchmarks.worlds import (
    gaussian_denoiser,
    gaussian_flow,
    mixture_cdf,
    mixture_denoiser,
    mixture_flow,
)
from tests.conftest import _shared
from torch import Tensor

__all__ = [
    "double",
    "gaussian_denoiser",
    "gaussian_flow",
    "generator",
    "mixture_cdf",
    "mixture_denoiser",
    "mixture_flow",
    "reference_vectors",
]


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference_vectors() -> dict[str, Any]:
    """Read the vectors that came with the data; skip without them, fail in CI."""
    return json.loads((_shared("reference") / "sampler_vectors.json").read_text())
