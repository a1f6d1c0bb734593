"""A learner as the training loop sees it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.engine.optim import Optimiser
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.learners.base import Learner
from diffuprompt.learners.presets import TrainConfig
from diffuprompt.protocols.workbench import ImageSet


class LearnerTask:
    """Steps of one learner over few-shot images; order and views derive from (seed, epoch)."""

    def __init__(self, learner: Learner, images: ImageSet, config: TrainConfig, seed: int) -> None:
        self.learner, self.images, self.config, self.seed = learner, images, config, seed

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch; a set smaller than a batch is one step (as in Dassl)."""
        return max(1, len(self.images) // self.config.batch)

    def optimiser(self) -> Optimiser:
        """The field's common recipe at this rate."""
        return Optimiser(lr=self.config.lr, weight_decay=self.config.weight_decay)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the learnables."""
        return self.learner.parameters()

    def state(self) -> dict[str, Any]:
        """Return the learnables by name."""
        return dict(self.learner.state_dict())

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the learnables back."""
        self.learner.load_state_dict(state)

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the learner's loss on one batch."""
        generator = torch_stream(self.seed, "order", epoch)
        order = torch.randperm(len(self.images), generator=generator)
        index = order[step * self.config.batch : (step + 1) * self.config.batch]
        view = epoch % self.config.views if self.config.views else epoch
        batch = self.images.batch(index.to(self.learner.clip.device), view)
        return self.learner.loss(batch, self.images.classes)

    def after_step(self, epoch: int, step: int) -> None:
        """Nothing."""

    def after_epoch(self, epoch: int) -> None:
        """Nothing."""
