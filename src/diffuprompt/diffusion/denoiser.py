"""From a network on unit-variance states to ``denoise(x, sigma) -> x0`` in VE coordinates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffuprompt.diffusion.sampling import Denoise
from diffuprompt.diffusion.schedule import Schedule
from diffuprompt.diffusion.targets import TO_X0, Prediction, ve_to_vp

Network = Callable[..., Tensor]
"""``network(z_BF, condition_BE, u_B, generator=...) -> (B, F)``, e.g. `TokenTransformer`."""


def make_denoiser(
    network: Network,
    schedule: Schedule,
    condition_BE: Tensor,
    *,
    prediction: Prediction = "x0",
    generator: torch.Generator | None = None,
) -> Denoise:
    """Return ``denoise`` for one condition ``(B|1, E)``; gradients flow to all inputs.

    The network sees ``x / sqrt(1 + sigma^2)`` and ``u = t(sigma) / T``, and what it predicts is
    turned into x0 (reference: Karras et al. 2022, arXiv 2206.00364, section 2). With x0-prediction
    an untrained `TokenTransformer` denoises everything to exactly 0.

    Args:
        network: predicts ``prediction`` from ``(z, condition, u)``.
        schedule: maps sigma to time; sigmas outside its range raise `ConfigError`.
        condition_BE: image features, one row for every state or one for all.
        prediction: what the network was trained to predict.
        generator: draws the dropout masks in training mode.
    """

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        u = (schedule.t(sigma) / schedule.steps).to(x.dtype).reshape(-1)
        raw = network(ve_to_vp(x, sigma), condition_BE, u, generator=generator)
        return TO_X0[prediction](raw, x, sigma)

    return denoise
