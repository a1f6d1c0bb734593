"""The adversarial network of the paper's table 4 (arXiv 2410.20164).

Hinge loss with a projection critic (Miyato and Koyama 2018, 1802.05637), spectral normalisation
(1802.05957) and lazy R1 (1801.04406, 1912.04958).

Legend: B image, D width, E embedding, K noise number, Z normalised coordinate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from diffuprompt.diffusion import PiNetwork, TokenGroup, TransformerConfig, linear
from diffuprompt.engine import Guard, Optimiser, moved, sent, torch_stream
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import FitConfig, RivalConfig
from diffuprompt.generators.fitting import FitTask
from diffuprompt.generators.networks import (
    QueryTransformer,
    ReadingTransformer,
    borrowed_chance,
    reset,
)
from diffuprompt.generators.types import FittingTask, PromptPairs, TaskLoss, TrainingLoss
from diffuprompt.prompts import PromptSpec

CRITIC_LAYERS = 4
BETAS = (0.0, 0.9)
R1_GAMMA, R1_EVERY = 1.0, 16


class PromptGan(PromptGenerator):
    """The rival transformer with a noise token, against a critic that sees prompts and image.

    Without its squared distance to V* (weight 1) it is unstable on 16 images per class. The critic
    lives in the task: nothing of it is kept after training.
    """

    name = "gan"
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
        """Build an untrained generator; ``seed`` gives the initial weights and the fixed noise."""
        super().__init__(spec, condition_width, config, fitting, seed=seed, scope=scope)
        self.fix_noise(config.latent)
        self.network = QueryTransformer(
            TransformerConfig.preset(config.size, pi=fitting.pi),
            self.normaliser.groups,
            condition_width,
            latent=config.latent,
            generator=torch_stream(seed, self.name, "init"),
        )

    def optimiser(self, steps: int) -> Optimiser:
        """Return Adam at a constant rate, for the generator as for the critic."""
        return Optimiser(
            kind="adam", lr=self.fitting.lr, weight_decay=0.0, betas=BETAS, schedule="constant"
        )

    def own_task(self, pairs: PromptPairs, task_loss: TaskLoss) -> FittingTask:
        """Return the task that trains the critic too."""
        return _GanTask(self, pairs, task_loss)

    def training_loss(
        self, z_BZ: Tensor, features_BE: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return the squared distance to V* and a sample; the task adds the critic's opinion."""
        noise = moved(torch.randn(len(z_BZ), self.num_noise, generator=stream), z_BZ)
        guess = self.network(features_BE, noise, generator=stream)
        return TrainingLoss((guess - z_BZ).square().mean(), guess)

    def generate(self, features_BE: Tensor, draw: int = 0) -> Tensor:
        """Return the sample of one draw of noise times ``temperature`` ``(B, Z)``."""
        return self.network(features_BE, self.config.temperature * self.draw_noise(draw))


class Critic(nn.Module):
    """``(z, condition) -> (B,)``: how real prompts look for an image."""

    def __init__(
        self,
        config: TransformerConfig,
        groups: Sequence[TokenGroup],
        condition_width: int,
        stream: torch.Generator,
    ) -> None:
        """Build from ``stream``; every ``nn.Linear`` is spectrally normalised."""
        super().__init__()
        size = replace(config, layers=min(CRITIC_LAYERS, config.layers), dropout=0.0)
        self.reader = ReadingTransformer(size, groups, condition_width, generator=stream)
        self.score = linear(config.width, 1)
        self.pi = PiNetwork(condition_width, config.width, kind=config.pi)
        reset(self.score, stream)
        self.pi.reset(stream)
        with borrowed_chance(stream):  # the first guess of the singular vectors
            for part in list(self.modules()):
                if isinstance(part, nn.Linear):
                    spectral_norm(part)

    def forward(self, z_BZ: Tensor, features_BE: Tensor) -> Tensor:
        """Return the score: a projection on the image's token, and one without an image."""
        h_BD = self.reader(z_BZ, features_BE)
        return self.score(h_BD)[:, 0] + (self.pi(features_BE) * h_BD).mean(1)


class _GanTask(FitTask):
    """Two players: `loss` is the generator's, and the critic moves in `after_step`.

    So a step that the training loop refuses has moved neither, and a saved state is that of both.
    """

    owner: PromptGan

    def __init__(self, owner: PromptGan, pairs: PromptPairs, task_loss: TaskLoss) -> None:
        super().__init__(owner, pairs, task_loss)
        critic = Critic(
            TransformerConfig.preset(owner.config.size, pi=owner.fitting.pi),
            owner.normaliser.groups,
            owner.condition_width,
            torch_stream(owner.seed, owner.name, "critic", "init"),
        )
        self.critic = critic.to(self.target)
        self.adam = torch.optim.Adam(critic.parameters(), lr=owner.fitting.lr, betas=BETAS)
        self.guard = Guard()

    def state(self) -> dict[str, Any]:
        """Return both players and the critic's optimiser; raises when its loss was not finite."""
        self.guard.read()
        adam = self.adam.state_dict()["state"]
        return {**super().state(), "critic": self.critic.state_dict(), "adam": adam}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        super().load_state(state)
        self.critic.load_state_dict(state["critic"])
        groups = self.adam.state_dict()["param_groups"]
        self.adam.load_state_dict({"state": state["adam"], "param_groups": groups})

    def training_loss(
        self, target_BZ: Tensor, index: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return the distance to V* minus the critic's score."""
        found = super().training_loss(target_BZ, index, stream)
        self.critic.requires_grad_(False).eval()  # its singular vectors move with its own steps
        score = self.critic(found.guess, self.pairs.features[index]).mean()
        return replace(found, loss=found.loss - score, shown={"mse": found.loss, "score": score})

    def after_step(self, epoch: int, step: int) -> None:
        """Move the critic: hinge loss on the step's images, and now and then R1."""
        super().after_step(epoch, step)
        index = sent(self.index(epoch, step), self.target.device)
        real_BZ, features_BE = self.target[index], self.pairs.features[index]
        stream = self.stream("critic", epoch, step)
        with torch.no_grad():
            fake_BZ = self.owner.training_loss(real_BZ, features_BE, stream).guess
        self.critic.requires_grad_(True).train()
        loss = functional.relu(1 - self.critic(real_BZ, features_BE)).mean()
        loss = loss + functional.relu(1 + self.critic(fake_BZ, features_BE)).mean()
        if (epoch * self.steps_per_epoch + step) % R1_EVERY == 0:
            loss = loss + R1_EVERY * R1_GAMMA / 2 * self._slope(real_BZ, features_BE)
        self.guard.take("the critic's", {"loss": loss}, epoch, step)
        if self.guard.ready:
            self.guard.read()
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()

    def _slope(self, real_BZ: Tensor, features_BE: Tensor) -> Tensor:
        """Return the mean squared gradient norm of the score at real prompts."""
        at = real_BZ.detach().requires_grad_()
        score = self.critic(at, features_BE).sum()
        (slope,) = torch.autograd.grad(score, at, create_graph=True)
        return slope.square().sum(1).mean()
