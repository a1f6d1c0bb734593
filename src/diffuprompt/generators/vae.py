"""The conditional variational autoencoder of the paper's table 4 (arXiv 2410.20164; 1312.6114).

Legend: B image, D width, E embedding, K latent number, Z normalised coordinate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import TokenGroup, TransformerConfig, linear
from diffuprompt.engine import moved, torch_stream
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import FitConfig, RivalConfig
from diffuprompt.generators.fitting import FitTask
from diffuprompt.generators.networks import QueryTransformer, ReadingTransformer, reset
from diffuprompt.generators.types import FittingTask, PromptPairs, TaskLoss, TrainingLoss
from diffuprompt.prompts import PromptSpec

FREE_BITS = 0.05  # a latent number may keep this much for nothing (Kingma et al., 1606.04934)


class PromptVae(PromptGenerator):
    """Prompts to a latent code and back, given the image; the prior is N(0, I).

    The decoder is the rival transformer with a latent token, the encoder half as deep: 1.5 times
    its parameters. A sample decodes one fixed code of the prior times ``temperature``.
    """

    name = "vae"
    config: RivalConfig
    network: _Vae

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
        """Build an untrained generator; ``seed`` gives the initial weights and the fixed code."""
        super().__init__(spec, condition_width, config, fitting, seed=seed, scope=scope)
        self.fix_noise(config.latent)
        self.kl_weight = 0.0  # the task warms it up
        self.network = _Vae(
            TransformerConfig.preset(config.size, pi=fitting.pi),
            self.normaliser.groups,
            condition_width,
            config.latent,
            torch_stream(seed, self.name, "init"),
        )

    def own_task(self, pairs: PromptPairs, task_loss: TaskLoss) -> FittingTask:
        """Return the task that warms the KL weight up."""
        return _VaeTask(self, pairs, task_loss)

    def training_loss(
        self, z_BZ: Tensor, features_BE: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return reconstruction plus weighted KL, and the reconstruction.

        The KL divergence is summed over latent numbers and divided by their count; numbers below
        the free bits are not pushed further.
        """
        mean, logvar = self.network.encode(z_BZ, features_BE, stream)
        noise = moved(torch.randn(mean.shape, generator=stream), mean)
        code = mean + (0.5 * logvar).exp() * noise
        guess = self.network.decoder(features_BE, code, generator=stream)
        kl_K = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean(0)
        error = (guess - z_BZ).square().mean()
        loss = error + self.kl_weight * kl_K.clamp_min(FREE_BITS).mean()
        return TrainingLoss(loss, guess, shown={"mse": error, "kl": kl_K.mean()})

    def generate(self, features_BE: Tensor, draw: int = 0) -> Tensor:
        """Return the decoded code of one draw ``(B, Z)``."""
        return self.network.decoder(features_BE, self.config.temperature * self.draw_noise(draw))


class _Vae(nn.Module):
    def __init__(
        self,
        config: TransformerConfig,
        groups: Sequence[TokenGroup],
        condition_width: int,
        latent: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        half = replace(config, layers=max(1, config.layers // 2))
        self.encoder = ReadingTransformer(half, groups, condition_width, generator=generator)
        self.decoder = QueryTransformer(
            config, groups, condition_width, latent=latent, generator=generator
        )
        self.code = linear(config.width, 2 * latent)
        reset(self.code, generator)

    def encode(
        self, z_BZ: Tensor, features_BE: Tensor, stream: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return mean and log variance ``(B, K)`` of the code."""
        mean, logvar = self.code(self.encoder(z_BZ, features_BE, generator=stream)).chunk(2, 1)
        return mean, logvar.clamp(-10, 10)  # e^10 is far outside of the prior already


class _VaeTask(FitTask):
    owner: PromptVae

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the terms at the step's KL weight: from 0, over half of training (1602.02282)."""
        steps = self.steps_per_epoch
        done = (epoch * steps + step) / max(1, self.epochs * steps)
        self.owner.kl_weight = self.owner.config.kl_weight * min(1.0, 2 * done)
        return super().loss(epoch, step)
