"""What passes between a generator, its fitting and the rooms above.

Legend: B image, E embedding, F flat, N training image, Z normalised coordinate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from diffuprompt.engine import Task

TaskLoss = Callable[[Tensor, Tensor], Tensor]
"""``task_loss(flat (B, F), index (B,)) -> scalar``: how well prompts serve their images."""


@dataclass(frozen=True, eq=False)
class PromptPairs:
    """Features ``(N, E)``, own prompts V0 ``(N, F)`` and overfitted V* ``(N, F)`` to learn from."""

    features: Tensor
    initial: Tensor
    target: Tensor


@dataclass(frozen=True, eq=False)
class TrainingLoss:
    """What a generator makes of one training batch.

    ``loss`` is its own loss, a scalar; ``guess`` ``(B, Z)`` the normalised prompts on which the
    task loss is put, with their graph; ``usable`` ``(B,)`` the rows for which that makes sense,
    None for all; ``shown`` further scalars for the log.
    """

    loss: Tensor
    guess: Tensor
    usable: Tensor | None = None
    shown: dict[str, Tensor] = field(default_factory=dict)


class FittingTask(Task, Protocol):
    """What the training loop steps to train a generator, and how long."""

    @property
    def epochs(self) -> int:
        """Passes over the images."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass."""

    def keep_average(self) -> None:
        """Leave the averaged weights in the network."""
