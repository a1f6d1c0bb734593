"""The transformer of the paper's table 4: a regression by learned queries (arXiv 2410.20164).

Legend: B image, E embedding, Z normalised coordinate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.diffusion import TransformerConfig
from diffuprompt.engine import torch_stream
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import FitConfig, RivalConfig
from diffuprompt.generators.networks import QueryTransformer
from diffuprompt.generators.types import TrainingLoss
from diffuprompt.prompts import PromptSpec


class PromptTransformer(PromptGenerator):
    """Diffusion's network with queries in the place of the noisy state, and no time; MSE."""

    name = "transformer"
    config: RivalConfig

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
        self.network = QueryTransformer(
            TransformerConfig.preset(config.size, pi=fitting.pi),
            self.normaliser.groups,
            condition_width,
            generator=torch_stream(seed, self.name, "init"),
        )

    def training_loss(
        self, z_BZ: Tensor, features_BE: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return the mean squared error and the answer."""
        guess = self.network(features_BE, generator=stream)
        return TrainingLoss((guess - z_BZ).square().mean(), guess)

    def generate(self, features_BE: Tensor, draw: int = 0) -> Tensor:
        """Return the answer ``(B, Z)``; there is no noise to draw."""
        return self.network(features_BE)
