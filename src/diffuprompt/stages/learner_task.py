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
from diffuprompt.stages.image_set import ImageSet


class LearnerTask:
    """Steps of one learner over few-shot images; order and views derive from (seed, epoch)."""

    def __init__(self, learner: Learner, images: ImageSet, config: TrainConfig, seed: int) -> None:
        self.learner, self.images, self.config, self.seed = learner, images, config, seed

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch; a set smaller than a batch is one step (as in Dassl)."""
        return max(1, len(self.images) // self.config.batch)

    def optimiser(self) -> Optimiser:
        """What the recipe asks for."""
        config = self.config
        return Optimiser(
            kind=config.algorithm,
            lr=config.lr,
            weight_decay=config.weight_decay,
            schedule=config.schedule,
        )

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the learnables."""
        return self.learner.parameters()

    def state(self) -> dict[str, Any]:
        """Return the learnables by name, and what the learner accumulates."""
        return {
            "learner": dict(self.learner.state_dict()),
            "training": self.learner.training_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.learner.load_state_dict(state["learner"])
        self.learner.load_training_state(state["training"])

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the learner's loss on one batch."""
        generator = torch_stream(self.seed, "order", epoch)
        order = torch.randperm(len(self.images), generator=generator)
        index = order[step * self.config.batch : (step + 1) * self.config.batch]
        view, other = self._views(epoch)
        batch = self.images.batch(
            index.to(self.learner.clip.device),
            view,
            needs=self.learner.training_needs,
            second=other,
            keep=bool(self.config.views),
        )
        chance = torch_stream(self.seed, "loss", epoch, step)
        return self.learner.loss(batch, self.images.classes, chance)

    def _views(self, epoch: int) -> tuple[int, int]:
        """Return an epoch's view and its second view; fresh second views count down from -1."""
        count = self.config.views
        return (epoch % count, (epoch + 1) % count) if count else (epoch, -1 - epoch)

    def after_step(self, epoch: int, step: int) -> None:
        """Nothing."""

    def after_epoch(self, epoch: int) -> None:
        """Let the learner follow it up."""
        self.learner.after_epoch(epoch, self.config.epochs)
