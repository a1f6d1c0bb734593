"""Joint training: V0, V*, pi and the network move together, by one backward pass per step.

The literal reading of arXiv 2410.20164, sections 4.1 and 4.2: every step overfits its batch from
the learner's present prompts, and L = CE + beta * L_diff updates learner and generator.

Legend: B image, F flat, N training image, Z normalised coordinate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.engine import NULL, Progress
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.descent import Problem, descend
from diffuprompt.generators.fitting import QUALITY_IMAGES, FitTask, run
from diffuprompt.generators.types import PromptPairs, TaskLoss, TrainingLoss


@dataclass(frozen=True, eq=False, kw_only=True)
class Base:
    """The learner as joint training sees it: opaque learnables, and prompts that follow from them.

    Attributes:
        module: what is trained beside the generator.
        own: ``own(index (B,)) -> V0 (B, F)`` with its graph.
        problem: overfitting of the N images; its logits follow ``module``.
        overfit: how V* is found.
        lr: the rate for it, as calibrated before.
    """

    module: nn.Module
    own: Callable[[Tensor], Tensor]
    problem: Problem
    overfit: OverfitConfig
    lr: float

    def pairs(self, features_NE: Tensor) -> PromptPairs:
        """Return some evenly spaced images with V* of the module as it is now."""
        count = len(features_NE)
        at = torch.linspace(0, count - 1, min(QUALITY_IMAGES, count)).round().long()
        at = at.to(features_NE.device)
        with torch.no_grad():
            initial = self.own(at)
        return PromptPairs(features_NE[at], initial, self.best(initial, at))

    def best(self, initial_BF: Tensor, index_B: Tensor) -> Tensor:
        """Return V* ``(B, F)`` of some images, started at ``initial``, without a graph."""
        every = self.problem

        def logits(flat: Tensor, at: Tensor, classes: Tensor | None = None, /) -> Tensor:
            return every.logits(flat, index_B[at], classes)

        here = replace(every, logits=logits, initial=initial_BF, labels=every.labels[index_B])
        out = torch.empty_like(initial_BF)
        count = len(index_B)
        everyone = torch.arange(count, device=index_B.device)
        for part in here.batches(everyone, self.overfit.batch or count):
            out[part] = descend(here, part, self.overfit, self.lr)["prompts"]
        return out


class JointTask(FitTask):
    """What the training loop steps; the learner's weights are trained, averaged and saved too."""

    def __init__(
        self, owner: PromptGenerator, pairs: PromptPairs, task_loss: TaskLoss, base: Base
    ) -> None:
        self.base = base
        super().__init__(owner, pairs, task_loss)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the network's, then the learner's."""
        return [*self.owner.network.parameters(), *self.base.module.parameters()]

    def state(self) -> dict[str, Any]:
        """Return the weights of both and their averages."""
        return {**super().state(), "base": self.base.module.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        super().load_state(state)
        self.base.module.load_state_dict(state["base"])

    def targets(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Overfit the batch; the gradient of V* passes to V0 as if the steps between were fixed.

        The paper discards "the gradient information" of those steps. With residual normalisers
        V0 then cancels out of the target, and the task loss alone moves it.
        """
        initial = self.base.own(index)
        start = initial.detach()
        target = initial + (self.base.best(start, index) - start)
        return self.owner.normaliser.encode(target, initial), initial

    def own_loss(self, own: TrainingLoss, target_BZ: Tensor) -> Tensor:
        """Return the loss; with ``stop_gradient``, a loss of that value that V0 does not feel.

        The guess of the cross-entropy is made from the same noised V*, so its graph must stay:
        what the loss would pass to the targets is taken away again.
        """
        if not self.owner.fitting.stop_gradient:
            return own.loss
        (passed_BZ,) = torch.autograd.grad(own.loss, target_BZ, retain_graph=True)
        felt = (passed_BZ * target_BZ).sum()
        return own.loss - felt + felt.detach()


def fit_joint(
    generator: PromptGenerator,
    pairs: PromptPairs,
    task_loss: TaskLoss,
    *,
    base: Base,
    folder: Path | None = None,
    fingerprint: str = "",
    save_every_s: float = 30.0,
    progress: Progress = NULL,
) -> dict[str, float]:
    """Train generator and learner together; resumable through ``folder``.

    ``pairs`` are those of the learner as it comes in: the normaliser is measured on them. Returns
    what `fitting.fit` returns.
    """
    measured = generator.normaliser.measure(pairs.initial, pairs.target)
    base.module.requires_grad_(True)
    generator.train()
    task = JointTask(generator, pairs, task_loss, base)
    result = run(
        generator,
        task,
        folder=folder,
        fingerprint=fingerprint,
        save_every_s=save_every_s,
        progress=progress,
    )
    generator.eval()
    base.module.requires_grad_(False)
    return {**result, **measured}
