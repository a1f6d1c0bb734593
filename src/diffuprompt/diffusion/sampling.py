"""What every sampler shares: its signature, its grid, its noise, and a counter of evaluations.

The state ``x`` is ``(B, ...)`` in VE coordinates, ``x = x0 + sigma * eps``; it starts as
``sigmas[0] * noise``. Coefficients are Python floats (float64), tensors keep the dtype of ``x``.

Where a sampler ends is decided by the grid: at a last sigma above 0 it returns the state there, at
a last sigma of 0 it returns the denoiser's x0 at the point before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from diffuprompt.engine import moved
from diffuprompt.errors import ConfigError

Denoise = Callable[[Tensor, Tensor], Tensor]
"""``denoise(x, sigma) -> x0``: x ``(B, ...)``, sigma scalar or ``(B,)``, x0 like x."""

Generators = torch.Generator | Sequence[torch.Generator] | None
"""One generator draws for the whole batch; a sequence holds one per row, or one shared by all.

With a sequence, a row's result does not depend on the other rows or their order.
"""


class Sampler(Protocol):
    """One signature for all samplers; options of single ones are bound with ``partial``."""

    def __call__(
        self, denoise: Denoise, x: Tensor, sigmas: Tensor, *, generator: Generators = None
    ) -> Tensor:
        """Carry ``x`` ``(B, ...)`` from ``sigmas[0]`` down the grid ``(N,)``; return x0."""
        ...


def levels(sigmas: Tensor) -> list[float]:
    """Return the grid as floats; one on an accelerator makes the host wait, so keep it here.

    Raises:
        ConfigError: not ``(N,)`` with N at least 2, strictly falling, and positive but for a last
            0.
    """
    values = [float(s) for s in sigmas.tolist()] if sigmas.ndim == 1 else []
    falling = len(values) > 1 and all(a > b for a, b in pairwise(values)) and values[-1] >= 0
    if not falling:
        raise ConfigError(
            "sigmas: expected at least two strictly falling levels, positive but for a last 0, "
            f"got {sigmas.tolist()}"
        )
    return values


def at(sigma: float, x: Tensor) -> Tensor:
    """Return ``sigma`` as a scalar tensor with the dtype and device of ``x``."""
    return torch.full((), sigma, dtype=x.dtype, device=x.device)


def draw_noise(x: Tensor, generator: Generators) -> Tensor:
    """Draw standard normal noise for ``x`` ``(B, ...)``: ``(B, ...)``, or ``(1, ...)`` if shared.

    Raises:
        ConfigError: there is no generator, or a sequence of neither 1 nor B generators.
    """
    if generator is None:
        raise ConfigError("generator: this sampler draws noise, pass a torch.Generator")
    if isinstance(generator, torch.Generator):
        return _normal(x.shape, x, generator)
    if len(generator) not in (1, x.shape[0]):
        raise ConfigError(f"generator: expected 1 or {x.shape[0]} (B), got {len(generator)}")
    return torch.stack([_normal(x.shape[1:], x, g) for g in generator])


def _normal(shape: torch.Size, x: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator, device=generator.device, dtype=x.dtype)
    return moved(noise, x)


class Counted:
    """A denoiser that counts its evaluations in ``nfe``."""

    def __init__(self, denoise: Denoise) -> None:
        """Wrap ``denoise`` and start at 0."""
        self._denoise = denoise
        self.nfe = 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Evaluate and count."""
        self.nfe += 1
        return self._denoise(x, sigma)
