"""The normalizing flow of the paper's table 4, by zuko (arXiv 2410.20164; 1605.08803).

Legend: B image, E embedding, R principal coordinate.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import Pi, PiNetwork
from diffuprompt.engine import moved, torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import FitConfig, RivalConfig
from diffuprompt.generators.networks import borrowed_chance, budget, hidden_width
from diffuprompt.generators.types import TrainingLoss
from diffuprompt.prompts import PromptSpec

COUPLINGS = 8
BLUR = 0.05  # noise on the targets: few samples in many directions have no finite density


class PromptFlow(PromptGenerator):
    """Conditional affine couplings from N(0, I) to whitened principal coordinates.

    A flow is invertible, so it models as many numbers as it draws: thousands of raw coordinates
    diverge on a few hundred images. Coupling networks start at zero, which makes the untrained
    flow the identity; the learner's own prompts come from the normaliser, which has measured
    nothing yet. Scales are clamped softly (zuko). On an accelerator zuko waits in every coupling,
    to find the places of its mask.
    """

    name = "flow"
    config: RivalConfig
    network: _Flow

    def __init__(
        self,
        spec: PromptSpec,
        condition_width: int,
        config: RivalConfig,
        fitting: FitConfig,
        *,
        seed: int,
        scope: str = "",
    ) -> None:
        """Build an untrained generator; ``seed`` gives the initial weights and the fixed noise.

        Raises:
            ConfigError: zuko is missing, or the normaliser is not "whiten".
        """
        super().__init__(spec, condition_width, config, fitting, seed=seed, scope=scope)
        if fitting.normaliser != "whiten":
            raise ConfigError(
                f"fit.normaliser: a flow needs 'whiten' (principal coordinates), got "
                f"{fitting.normaliser!r}; leave fit.normaliser out"
            )
        if self.normaliser.size < 2:
            raise ConfigError(
                "fit.rank: a flow couples coordinates with others, expected 2 or more"
            )
        self.fix_noise(self.normaliser.size)
        hidden = _hidden(budget(config.size), condition_width, self.normaliser.size)
        stream = torch_stream(seed, self.name, "init")
        self.network = _Flow(self.normaliser.size, condition_width, fitting.pi, hidden, stream)

    def training_loss(
        self, z_BZ: Tensor, features_BE: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return the negative log-likelihood per coordinate (nats) and a sample."""
        blur = BLUR * moved(torch.randn(z_BZ.shape, generator=stream), z_BZ)
        noise = moved(torch.randn(z_BZ.shape, generator=stream), z_BZ)
        transform = self.network(features_BE)
        u, ladj = transform.call_and_ladj(z_BZ + blur)
        log_density = -0.5 * (u.square() + math.log(2 * math.pi)).sum(1) + ladj
        return TrainingLoss(-log_density.mean() / z_BZ.shape[1], transform.inv(noise))

    def generate(self, features_BE: Tensor, draw: int = 0) -> Tensor:
        """Return the image of one draw of noise times ``temperature`` ``(B, R)``."""
        noise = self.config.temperature * self.draw_noise(draw)
        return self.network(features_BE).inv(noise.expand(features_BE.shape[0], -1))


class _Flow(nn.Module):
    """``condition -> transform``: pi, then couplings of alternating halves with an affine map."""

    def __init__(
        self, size: int, condition_width: int, pi: Pi, hidden: int, stream: torch.Generator
    ):
        super().__init__()
        try:
            from zuko.flows.coupling import GeneralCouplingTransform
            from zuko.lazy import LazyComposedTransform, UnconditionalTransform
            from zuko.transforms import MonotonicAffineTransform
        except ImportError as cause:
            raise ConfigError(
                "generator: flow needs the package zuko; pip install 'diffuprompt[flow]'"
            ) from cause
        self.pi = PiNetwork(condition_width, kind=pi)
        even = torch.arange(size) % 2 == 0
        parts: list[Any] = []
        with borrowed_chance(stream):
            for i in range(COUPLINGS):
                # an affine map of every coordinate stands for ActNorm: whitened targets have unit
                # size already, so it may start at the identity instead of at the first batch
                zeros = torch.zeros(2, size)
                parts.append(UnconditionalTransform(MonotonicAffineTransform, *zeros))
                parts.append(
                    GeneralCouplingTransform(
                        size,
                        condition_width,
                        mask=even if i % 2 else ~even,
                        hidden_features=(hidden, hidden),
                        activation=nn.SiLU,
                    )
                )
                last = parts[-1].hyper[-1]
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        self.couplings = LazyComposedTransform(*parts)
        self.pi.reset(stream)

    def forward(self, features_BE: Tensor) -> Any:
        """Return the transform from prompts to noise for these images."""
        return self.couplings(self.pi(features_BE))


def _hidden(parameters: int, condition_width: int, size: int) -> int:
    """Return the width of the coupling networks' two hidden layers that meets the budget."""
    inputs, outputs = size // 2 + condition_width, size  # a shift and a scale for the other half
    return hidden_width(parameters // COUPLINGS, inputs + outputs)
