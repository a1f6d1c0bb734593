"""PromptSRC's three consistencies with frozen CLIP (arXiv 2307.06948, eq. 3-5).

Legend: B image, C class, E embedding.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from diffuprompt.data import Needs
from diffuprompt.learners.losses.step import Step
from diffuprompt.learners.teachers import TemplateTeacher


def teacher_kl(student_BC: Tensor, teacher_BC: Tensor) -> Tensor:
    """KL(teacher || student) of the softmax over classes, summed and divided by B * C.

    The mean over classes too is the authors' code; the usual divergence is C times as large.
    """
    student, teacher = student_BC.log_softmax(1), teacher_BC.log_softmax(1)
    return functional.kl_div(student, teacher, reduction="sum", log_target=True) / student.numel()


class SelfRegulation:
    """L1 of text and of image features, and the divergence of logits, each where weighted."""

    def __init__(self, teacher: TemplateTeacher, *, text: float, image: float, kl: float) -> None:
        self.teacher, self.weights = teacher, (text, image, kl)

    @property
    def needs(self) -> Needs:
        """Prompt-free features of the same view, unless only texts are compared."""
        return Needs(features=bool(self.weights[1] or self.weights[2]))

    def __call__(self, step: Step) -> dict[str, Tensor]:
        """Return "text_l1", "image_l1" and "kl", those with a weight."""
        text_weight, image_weight, kl_weight = self.weights
        target = self.teacher.text(step.classes).to(step.text.dtype)
        terms = {}
        if text_weight:
            terms["text_l1"] = text_weight * functional.l1_loss(step.text, target)
        if image_weight:
            terms["image_l1"] = image_weight * functional.l1_loss(
                step.image, step.teacher_features()
            )
        if kl_weight:
            zero_shot = step.scale * step.teacher_features() @ target.T
            terms["kl"] = kl_weight * teacher_kl(step.logits, zero_shot)
        return terms
