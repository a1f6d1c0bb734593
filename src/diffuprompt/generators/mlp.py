"""The perceptron of the paper's table 4: prompts regressed on the image (arXiv 2410.20164).

Legend: B image, E embedding, Z normalised coordinate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import PiNetwork, linear
from diffuprompt.engine import torch_stream
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import FitConfig, RivalConfig
from diffuprompt.generators.networks import budget, hidden_width
from diffuprompt.generators.types import TrainingLoss
from diffuprompt.prompts import PromptSpec

WIDE, RANK = 4096, 64  # more outputs than this come from a head of this rank


class PromptMlp(PromptGenerator):
    """pi, LayerNorm, two hidden layers with GELU, and all coordinates at once; MSE.

    The hidden width follows the parameter budget: the reference's 2048 would be a quarter of the
    "paper" diffusion network, and four times the "small" one.
    """

    name = "mlp"
    config: RivalConfig
    network: nn.Sequential

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
        """Build an untrained generator; ``seed`` gives the initial weights."""
        super().__init__(spec, condition_width, config, fitting, seed=seed, scope=scope)
        size = self.normaliser.size
        rank = RANK if size > WIDE else size
        left = budget(config.size) - (rank * size if rank < size else 0)
        hidden = hidden_width(left, condition_width + rank)
        head = [linear(hidden, rank), linear(rank, size)] if rank < size else [linear(hidden, size)]
        self.network = nn.Sequential(
            PiNetwork(condition_width, kind=fitting.pi),
            nn.LayerNorm(condition_width),
            linear(condition_width, hidden),
            nn.GELU(),
            linear(hidden, hidden),
            nn.GELU(),
            *head,
        )
        self._reset(torch_stream(seed, self.name, "init"))
        nn.init.zeros_(head[-1].weight)

    @torch.no_grad()
    def _reset(self, generator: torch.Generator) -> None:
        """Draw weights of standard deviation 1/sqrt(fan-in), and zero biases."""
        for part in self.network:
            if isinstance(part, nn.Linear):
                part.weight.normal_(0, part.in_features**-0.5, generator=generator)
                part.bias.zero_()
            elif isinstance(part, PiNetwork):
                part.reset(generator)

    def training_loss(
        self, z_BZ: Tensor, features_BE: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return the mean squared error and the answer."""
        guess = self.network(features_BE)
        return TrainingLoss((guess - z_BZ).square().mean(), guess)

    def generate(self, features_BE: Tensor, draw: int = 0) -> Tensor:
        """Return the answer ``(B, Z)``; there is no noise to draw."""
        return self.network(features_BE)
