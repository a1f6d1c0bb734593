"""What the denoising network is told beside the state: the time, and pi from the condition.

Legend: B batch, E condition width.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.diffusion.attention import linear


def time_code(u: Tensor, num_frequencies: int, max_freq_log2: float) -> Tensor:
    """Return ``[sin(w_k u), cos(w_k u), u]``, ``(B, 2 K + 1)``, for times ``u`` ``(B,)``.

    ``w_k = 2^linspace(0, max_freq_log2, K)`` (Mildenhall et al. 2020, arXiv 2003.08934, eq. 4).
    For u in [0, 1] and T = 100 the default turns by at most 0.64 rad per step, so it is smooth
    between the steps; ln(sigma) / 4 spans about twice that range.
    """
    powers = torch.linspace(0, max_freq_log2, num_frequencies, dtype=u.dtype, device=u.device)
    angles = u[:, None] * 2**powers
    return torch.cat([angles.sin(), angles.cos(), u[:, None]], dim=1)


Pi = Literal["meta_net", "linear"]


class PiNetwork(nn.Module):
    """pi, the condition token: CoCoOp's Meta-Net on the image feature (arXiv 2203.05557, sec. 3.2).

    Linear(E, E/16), ReLU, Linear(E/16, E); or, as "linear", the feature itself, or a linear map of
    it where ``out_width`` is given: a few ReLUs let through little of which class an
    image resembles. Two deviations. The feature is divided by its RMS, not
    by its norm: coordinates of size 1 instead of 1/sqrt(E) keep pi visible at initialisation,
    above the epsilon of the LayerNorm that follows. And at least 32 hidden units (CoCoOp's at
    E = 512) remain for narrow towers, where a handful of ReLUs may all be silent for an image.
    """

    def __init__(
        self, feature_width: int, out_width: int | None = None, *, kind: Pi = "meta_net"
    ) -> None:
        """Allocate the weights, uninitialised; ``out_width`` defaults to ``feature_width``."""
        super().__init__()
        out = out_width or feature_width
        layers: list[nn.Module] = []
        if kind == "meta_net":
            hidden = max(32, feature_width // 16)
            layers = [linear(feature_width, hidden), nn.ReLU(), linear(hidden, out)]
        elif out_width is not None:
            layers = [linear(feature_width, out)]
        self.layers = nn.Sequential(*layers)

    def forward(self, condition_BE: Tensor) -> Tensor:
        """Return pi ``(B, out_width)``; the scale of the feature does not matter."""
        unit = functional.normalize(condition_BE, dim=-1) * math.sqrt(condition_BE.shape[-1])
        return self.layers(unit)

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None) -> None:
        """Draw weights of standard deviation 1/sqrt(fan-in) from ``generator``; zero biases."""
        for layer in self.layers:
            if not isinstance(layer, nn.Linear):
                continue
            layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()
