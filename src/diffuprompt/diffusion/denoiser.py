"""From a network on unit-variance states to ``denoise(x, sigma) -> x0`` in VE coordinates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffuprompt.diffusion.parametrisation import get_parametrisation
from diffuprompt.diffusion.sampling import Denoise
from diffuprompt.diffusion.schedule import Schedule

Network = Callable[..., Tensor]
"""``network(z_BF, condition, u_B, keep=..., generator=...) -> (B, F)``: `TokenTransformer`."""


def make_denoiser(
    network: Network,
    schedule: Schedule,
    condition: Tensor,
    *,
    prediction: str = "x0",
    guidance: float = 1.0,
    keep_B: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Denoise:
    """Return ``denoise`` for one condition; gradients flow to all inputs.

    What the network sees, and how its answer becomes x0, is the `Parametrisation` of
    ``prediction``. With x0-prediction an untrained `TokenTransformer` denoises everything to
    exactly 0.

    Args:
        network: predicts ``prediction`` from ``(z, condition, u)``.
        schedule: maps sigma to time; where the time is the schedule's, sigmas outside its range
            raise `ConfigError`.
        condition: image features ``(B|1, E)``.
        prediction: what the network was trained to predict.
        guidance: w of ``D0 + w (D1 - D0)``, D0 without and D1 with the condition (Ho and Salimans
            2022, arXiv 2207.12598, whose w is this one minus 1). Other than 1 it doubles the
            network evaluations; 0 ignores the condition.
        keep_B: rows ``(B|1,)`` that see their condition, the others see none; None shows it to all.
        generator: draws the dropout masks in training mode.
    """
    form = get_parametrisation(prediction)

    def ask(x: Tensor, sigma: Tensor, keep: Tensor | None) -> Tensor:
        u = form.time(sigma, schedule).to(x.dtype).reshape(-1)
        raw = network(form.state(x, sigma), condition, u, keep=keep, generator=generator)
        return form.to_x0(raw, x, sigma)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        guess = ask(x, sigma, keep_B)
        if guidance == 1:
            return guess
        blind = ask(x, sigma, torch.zeros(1, dtype=torch.bool, device=x.device))
        return blind + guidance * (guess - blind)

    return denoise
