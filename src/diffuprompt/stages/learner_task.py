"""A learner as the training loop sees it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import torch
from torch import Tensor, nn

from diffuprompt.data import ImageBatch
from diffuprompt.engine import Optimiser, torch_stream
from diffuprompt.learners import Learner, TrainConfig
from diffuprompt.stages.image_set import ImageSet


class LearnerTask:
    """Steps of one learner over few-shot images; order and views derive from (seed, epoch).

    Opened as a context, the images of the next step are decoded and read in a thread while this
    step computes.
    """

    def __init__(self, learner: Learner, images: ImageSet, config: TrainConfig, seed: int) -> None:
        self.learner, self.images, self.config, self.seed = learner, images, config, seed
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[tuple[int, int], Future[ImageBatch]] | None = None

    def __enter__(self) -> Self:
        # Rows of kept features are there at once: a second thread would only take a core away.
        if self.learner.training_needs.grid or not self.config.views:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="next-step")
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._thread = self._next = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; see `TrainConfig.steps_per_epoch`."""
        return self.config.steps_per_epoch(len(self.images))

    @property
    def first_view(self) -> int:
        """The number of the first random view: the learner may have looked at some already."""
        return self.learner.start_views if self.config.unseen_views else 0

    @property
    def num_feature_views(self) -> int:
        """How many random views' features all epochs read; 0 where each has views of its own."""
        needs, last = self.learner.training_needs, self.config.epochs - 1
        if not needs.features and not needs.second and not needs.pooled:
            return 0
        return min(self.config.views, last + 2 if needs.second else last + 1)

    def warm(self) -> None:
        """Compute or read those views ahead of time."""
        needs = self.learner.training_needs
        if needs.features or needs.second:
            self.images.warm_views(self.num_feature_views, self.first_view)
        if needs.pooled:
            self.images.before_projection.warm_views(self.num_feature_views, self.first_view)

    def optimiser(self) -> Optimiser:
        """Return what the recipe asks for."""
        config = self.config
        return Optimiser(
            kind=config.algorithm,
            lr=config.lr,
            weight_decay=config.weight_decay,
            schedule=config.schedule,
            eps=config.adam_eps,
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
        batch = self._batch(epoch, step)
        chance = torch_stream(self.seed, "loss", epoch, step)
        return self.learner.loss(batch, self.images.classes, chance)

    def _batch(self, epoch: int, step: int) -> ImageBatch:
        """Return the images of a step, and start on those of the next one."""
        if self._thread is None:
            return self._read(epoch, step)
        waiting = self._next
        if waiting is None or waiting[0] != (epoch, step):
            waiting = ((epoch, step), self._thread.submit(self._read, epoch, step))
        batch = waiting[1].result()
        following = (epoch, step + 1) if step + 1 < self.steps_per_epoch else (epoch + 1, 0)
        self._next = None
        if following[0] < self.config.epochs:
            self._next = (following, self._thread.submit(self._read, *following))
        return batch

    def _read(self, epoch: int, step: int) -> ImageBatch:
        generator = torch_stream(self.seed, "order", epoch)
        order = torch.randperm(len(self.images), generator=generator)
        index = order[step * self.config.batch : (step + 1) * self.config.batch]
        view, other = self._views(epoch)
        return self.images.batch(
            index,
            view,
            needs=self.learner.training_needs,
            second=other,
            keep=bool(self.config.views),
        )

    def _views(self, epoch: int) -> tuple[int, int]:
        """Return an epoch's view and its second view; fresh second views count down from -1."""
        count, first = self.config.views, self.first_view
        if not count:
            return first + epoch, -1 - epoch
        return first + epoch % count, first + (epoch + 1) % count

    def after_step(self, epoch: int, step: int) -> None:
        """Learners follow up epochs, not steps."""

    def after_epoch(self, epoch: int) -> None:
        """Let the learner follow it up."""
        self.learner.after_epoch(epoch, self.config.epochs)
