"""What every generator of prompts is: p(prompts given image), fitted once, sampled for any image.

It sees a `PromptSpec`, flat prompts and image features; which learner they belong to, and what the
task loss is, stays outside.

Legend: B image, E embedding, F flat, N training image, Z normalised coordinate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffuprompt.engine import NULL, Optimiser, Precision, Progress, moved, torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import FitConfig
from diffuprompt.generators.kinds import KINDS, GeneratorKind
from diffuprompt.generators.normalise import make_normaliser
from diffuprompt.generators.types import FittingTask, PromptPairs, TaskLoss, TrainingLoss
from diffuprompt.prompts import PromptSpec


class PromptGenerator(nn.Module, ABC):
    """p(prompts given image); `network` is what is trained and averaged.

    Untrained it returns the learner's own prompts exactly. One fixed noise vector serves all
    images of a (data set, seed), so predictions do not depend on the batch.
    """

    name: ClassVar[str]
    network: nn.Module
    noise: Tensor
    precision: Precision = "fp32"  # of training; samples are always made in fp32

    def __init__(
        self,
        spec: PromptSpec,
        condition_width: int,
        config: Any,
        fitting: FitConfig,
        *,
        seed: int,
        scope: str = "",
    ) -> None:
        """Keep the settings.

        Args:
            spec: what is generated.
            condition_width: E, the width of an image feature.
            config: the generator's own settings.
            fitting: how it is trained.
            seed: gives the initial weights and the fixed noise.
            scope: what the fixed noise belongs to beside the seed and the spec: the data set's
                name. Empty in artifacts of 0.1, whose noise belongs to seed and generator alone.
        """
        super().__init__()
        self.scope = scope
        self.spec, self.condition_width = spec, condition_width
        self.config, self.fitting, self.seed = config, fitting, seed
        self.normaliser = make_normaliser(fitting, spec)
        self.num_noise = 0

    @property
    def kind(self) -> GeneratorKind:
        """What is known of this kind of generator without building one."""
        return KINDS[self.name]

    def fix_noise(self, size: int) -> None:
        """Let samples start from ``size`` normal numbers; without this there is no noise."""
        drawn = torch.randn(1, size, generator=self._noise_stream())
        self.num_noise = size
        self.register_buffer("noise", drawn)

    @abstractmethod
    def training_loss(
        self, z_BZ: Tensor, features_BE: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return the generator's own loss and guesses for normalised targets ``z``.

        ``stream`` is the step's only source of randomness.
        """

    @abstractmethod
    def generate(self, features_BE: Tensor, draw: int = 0) -> Tensor:
        """Return normalised prompts ``(B, Z)``; ``draw`` as in `sample`."""

    def sample(self, features_BE: Tensor, initial_BF: Tensor, *, draw: int = 0) -> Tensor:
        """Return generated source prompts ``(B, F)``; differentiable.

        Args:
            features_BE: the images' prompt-free features, the condition pi.
            initial_BF: the learner's own prompts for them, ``(B|1, F)``.
            draw: 0 for the one fixed noise, k for another one, the same for all images;
                it changes nothing where there is no noise.
        """
        return self.normaliser.decode(self.generate(features_BE, draw), initial_BF)

    def draw_noise(self, draw: int) -> Tensor:
        """Return the noise ``(1, K)`` of one draw; that of draw 0 travels in the artifact."""
        if draw == 0:
            return self.noise
        return moved(torch.randn(self.noise.shape, generator=self._noise_stream(draw)), self.noise)

    def _noise_stream(self, *draw: int) -> torch.Generator:
        """Name the noise by data set, seed and spec: slots of equal size differ by tower."""
        if not self.scope:
            return torch_stream(self.seed, self.name, "test-noise", *draw)
        return torch_stream(self.seed, "test-noise", self.scope, self.spec.hash, *draw)

    def optimiser(self, steps: int) -> Optimiser:
        """Return how ``network`` is trained over ``steps`` steps in all."""
        lr, decay = self.fitting.lr, self.fitting.weight_decay
        if self.fitting.recipe == "sgd":
            return Optimiser(kind="sgd", lr=lr, weight_decay=decay)
        return Optimiser(
            kind="adamw",
            lr=lr,
            weight_decay=decay,
            clip_norm=1.0,
            schedule="cosine",
            warmup_steps=min(100, max(1, steps // 10)),
        )

    def no_decay(self) -> frozenset[str]:
        """Return the names of ``network``'s parameters that take no weight decay."""
        vectors = ("positions", "queries")
        named = self.network.named_parameters()
        return frozenset(n for n, p in named if p.ndim <= 1 or n.endswith(vectors))

    def own_task(self, pairs: PromptPairs, task_loss: TaskLoss) -> FittingTask | None:
        """Return what the training loop steps, where it is not what steps most generators."""
        return None

    def solver(self, nfe: int | None = None) -> nn.Module | None:
        """Return what is fitted to the trained network to sample with ``nfe`` evaluations.

        None (the configured number) or a number; None is returned where nothing needs a fit.
        """
        return None

    @property
    def fitted_for(self) -> tuple[int, ...]:
        """Numbers of evaluations for which there is a solver."""
        return ()

    def fit_solver(
        self,
        features: Tensor,
        *,
        nfe: int | None = None,
        folder: Path | None = None,
        fingerprint: str = "",
        save_every_s: float = 30.0,
        progress: Progress = NULL,
    ) -> dict[str, float]:
        """Fit `solver` to the network as it is now; by default there is nothing to fit.

        Args:
            features: of the training images, ``(N, E)``.
            nfe: evaluations of a sample; None for the configured number.
            folder: where an interrupted fit goes on.
            fingerprint: names all that the result depends on.
            save_every_s: seconds of work that a kill may cost.
            progress: shows what is going on.

        Returns:
            What was measured, for the record.
        """
        return {}

    @classmethod
    def upgrade(cls, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of an artifact of 0.1 under today's names."""
        return tensors

    def regression(self, features_BE: Tensor, initial_BF: Tensor) -> Tensor:
        """Return the mean of all prompts of an image, E[V*|pi] ``(B, F)``, by one evaluation.

        Raises:
            ConfigError: this generator takes no steps (``kind.stepwise``): without noise it is a
                regression itself, and through its noise one evaluation cannot see.
        """
        stepwise = [name for name, kind in KINDS.items() if kind.stepwise]
        raise ConfigError(f"{self.name} has no regression of its own, only {stepwise} have one")
