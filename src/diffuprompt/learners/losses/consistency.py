"""CoPrompt's consistency with frozen CLIP on another view and other sentences (arXiv 2306.01195).

Legend: B image, C class, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.data import Needs
from diffuprompt.learners.losses.step import Step
from diffuprompt.learners.teachers import SentenceTeacher

EPS = 1e-7  # of the authors' cosine


def distance(a: Tensor, b: Tensor, kind: str) -> Tensor:
    """Return the mean over rows of ``1 - cosine``, or the mean squared difference for "mse"."""
    if kind == "mse":
        return functional.mse_loss(a, b)
    return 1 - functional.cosine_similarity(a, b, dim=-1, eps=EPS).mean()


class Consistency:
    """``weight * (distance(text, a sentence's) + distance(image, another view's))`` (eq. 3-4).

    Each step draws one sentence index for all classes, as the authors' code does.
    """

    def __init__(self, teacher: SentenceTeacher, *, weight: float, kind: str) -> None:
        self.teacher, self.weight, self.kind = teacher, weight, kind

    @property
    def needs(self) -> Needs:
        """Features of another view."""
        return Needs(features=False, second=True)

    def __call__(self, step: Step) -> dict[str, Tensor]:
        """Return "text_consistency" and "image_consistency".

        Without a generator the first sentence counts: nothing draws from the global state.
        """
        sentences, drawn = self.teacher.text(step.classes), 0
        if step.generator is not None:
            drawn = int(torch.randint(len(sentences), (1,), generator=step.generator))
        target = sentences[drawn].to(step.text.dtype)
        assert step.images.second is not None, "the batch has no second view"
        other = step.images.second.to(step.image.dtype)
        return {
            "text_consistency": self.weight * distance(step.text, target, self.kind),
            "image_consistency": self.weight
            * distance(step.image, functional.normalize(other, dim=-1), self.kind),
        }
