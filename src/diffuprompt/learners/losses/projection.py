"""ProGrad: updates that do not go against the zero-shot logits (arXiv 2205.14865, eq. 5-6).

The projection is a property of the loss: `projected` has the task's value and the projected
gradient, so the training loop knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from diffuprompt.data import Needs
from diffuprompt.learners.losses.step import Step
from diffuprompt.learners.teachers import TemplateTeacher


class GeneralKnowledge:
    """Cross-entropy of the logits with the zero-shot probabilities, mean over images.

    Its gradient is that of the divergence KL(zero-shot || learned).
    """

    def __init__(self, teacher: TemplateTeacher) -> None:
        self.teacher = teacher

    @property
    def needs(self) -> Needs:
        """Prompt-free features of the same view."""
        return Needs(features=True)

    def __call__(self, step: Step) -> dict[str, Tensor]:
        """Return "general"."""
        text = self.teacher.text(step.classes).to(step.text.dtype)
        zero_shot = (step.scale * step.teacher_features() @ text.T).softmax(1)
        return {"general": -(zero_shot * step.logits.log_softmax(1)).sum(1).mean()}


def projected(
    task: Tensor, general: Tensor, parameters: Iterable[nn.Parameter], share: float
) -> Tensor:
    """Return a scalar with the value of ``task`` and the projected gradient.

    For each parameter, with gradients d of the task and g of the general knowledge: d where they
    agree (d . g >= 0), else ``d - share * (d . g / g . g) * g``.
    """
    learnables = [p for p in parameters if p.requires_grad]
    task_grads = torch.autograd.grad(task, learnables, retain_graph=True)
    general_grads = torch.autograd.grad(general, learnables)
    surrogate = task.detach()
    for p, d, g in zip(learnables, task_grads, general_grads, strict=True):
        dot, size = (d * g).sum(), (g * g).sum()
        d = torch.where(dot < 0, d - share * dot / size * g, d)
        surrogate = surrogate + ((p - p.detach()) * d).sum()
    return surrogate
