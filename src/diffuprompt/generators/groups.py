"""Prompts that are found for a group of pictures together, such as those of one style.

Legend: B image of a batch, F flat, G image of the group, N all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.engine import NULL, Progress
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.descent import Problem

STEPS = 4
RATE = 10.0  # times that of one image: gradients of a group cancel out for the most part
# Both chosen on validation pictures of scenes in grey, blurred, compressed and of low contrast.


def begin_together(
    problem: Problem,
    groups: Sequence[Tensor],
    config: OverfitConfig,
    lr: float,
    progress: Progress = NULL,
) -> Problem:
    """Return the problem with all images of a group moved by what lowers their mean loss.

    Args:
        problem: the images, where their prompts start, and which classes enter their loss.
        groups: positions ``(G,)`` among the images; who is in no group starts where it did.
        config: gives the number of images at once.
        lr: the step size of a single image.
        progress: shows what is going on.
    """
    initial_NF = problem.initial.clone()
    with progress.task("overfitting groups", total=len(groups)) as task:
        for group_G in groups:
            initial_NF[group_G] += shared_residual(problem, group_G, config, lr)
            task.advance(1)
    return replace(problem, initial=initial_NF)


def shared_residual(problem: Problem, group_G: Tensor, config: OverfitConfig, lr: float) -> Tensor:
    """Return the ``(F,)`` that, added to the prompts of all images of a group, helps them all."""
    group_G = group_G.to(problem.initial.device)
    residual_F = torch.zeros_like(problem.initial[0])
    for _ in range(STEPS):
        gradient_F = torch.zeros_like(residual_F)
        for index_B in problem.batches(group_G, config.batch):
            prompts_BF = (problem.initial[index_B] + residual_F).detach().requires_grad_()
            target, classes = problem.targets(index_B)
            some = () if classes is None else (classes,)
            loss = functional.cross_entropy(
                problem.logits(prompts_BF, index_B, *some), target, reduction="sum"
            )
            gradient_F += torch.autograd.grad(loss, prompts_BF)[0].sum(0)
        residual_F -= RATE * lr * gradient_F / len(group_G)
    return residual_F
