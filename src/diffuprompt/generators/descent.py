"""Gradient steps on the prompts of single images: what overfitting and its calibration repeat.

Legend: B image of a batch, C class, F flat, I steps, M listed class, N all images.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.errors import TrainingError
from diffuprompt.generators.config import OverfitConfig


class Logits(Protocol):
    """Scores of images under given prompts."""

    def __call__(
        self, flat_BF: Tensor, index_B: Tensor, classes_M: Tensor | None = None, /
    ) -> Tensor:
        """Return ``(B, C)``, or ``(B, M)`` for some of the classes; differentiable in ``flat``.

        ``classes_M`` is best given on the host, where the names are.
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """What is overfitted.

    Attributes:
        logits: scores of the N images under given prompts.
        initial: where each image starts, ``(N, F)``.
        labels: ``(N,)``.
        lists: by label, the classes that enter the cross-entropy of its images, ``(C, M)``,
            rows ascending and holding the label itself; None for all classes.
    """

    logits: Logits
    initial: Tensor
    labels: Tensor
    lists: Tensor | None = None

    def batches(self, index: Tensor, size: int) -> list[Tensor]:
        """Cut ``index`` into batches of at most ``size`` images that share one class list."""
        if self.lists is None:
            return list(index.split(size))
        labels = self.labels[index]
        index = index[labels.argsort(stable=True)]
        counts = labels.unique(return_counts=True)[1].tolist()
        return [part for group in index.split(counts) for part in group.split(size)]

    def targets(self, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the labels' places in the batch's class list, and the list, on the host.

        None for all classes. An accelerator is waited for, so ask once per batch.
        """
        labels = self.labels[index_B]
        if self.lists is None:
            return labels, None
        classes = self.lists[labels[:1]][0]
        return torch.searchsorted(classes, labels), classes.cpu()


def descend(
    problem: Problem,
    index_B: Tensor,
    config: OverfitConfig,
    lr: float,
    *,
    keep: Collection[int] = (),
) -> dict[str, Tensor]:
    """Take ``config.steps`` steps for one batch of `Problem.batches`.

    Minimises the cross-entropy over the class list for every image alone.

    Returns:
        "prompts" ``(B, F)``, "ce" ``(B, 1 + I)`` before and after each step, and "prompts_k"
        ``(B, F)`` after step k for every k in ``keep``.

    Raises:
        TrainingError: prompts or cross-entropies become non-finite; names the image's index. That
            is checked once, after the last step: no step waits for an accelerator.
    """
    initial = problem.initial[index_B].detach()
    prompts = initial.clone().requires_grad_()
    kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.SGD
    optimizer = kind([prompts], lr=lr)
    target, classes = problem.targets(index_B)
    some = () if classes is None else (classes,)
    ce, kept = [], {}
    for step in range(config.steps):
        if step in keep:
            kept[f"prompts_{step}"] = prompts.detach().clone()
        scores = problem.logits(prompts, index_B, *some)
        loss = functional.cross_entropy(scores, target, reduction="none")
        ce.append(loss.detach())
        # The sum over images: each image's gradient is its own, whatever the batch.
        (prompts.grad,) = torch.autograd.grad(loss.sum(), prompts)
        optimizer.step()
    with torch.no_grad():
        scores = problem.logits(prompts, index_B, *some)
        ce.append(functional.cross_entropy(scores, target, reduction="none"))
    bad = ~torch.isfinite(prompts.detach().sum(1) + ce[-1])  # a sum is finite as its terms are
    if bad.any():
        image = int(index_B[bad][0])
        if not torch.isfinite(initial[bad][0]).all():
            raise TrainingError(
                f"the learner's own prompts for image {image} are no finite numbers any more: "
                "training them with the generator (fit.mode=joint) moved them too far; set "
                "fit.stop_gradient=true or a smaller fit.lr"
            )
        raise TrainingError(
            f"overfitting image {image} left the finite numbers at lr={lr:g}; set a smaller "
            "overfit.lr"
        )
    prompts = prompts.detach()
    if config.steps in keep:
        kept[f"prompts_{config.steps}"] = prompts
    return {"prompts": prompts, "ce": torch.stack(ce, dim=1), **kept}
