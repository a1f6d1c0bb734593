"""What every term of a loss may look at in one training step.

Legend: B image, C class, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from diffuprompt.data import ImageBatch, Needs
from diffuprompt.learners.classes import Classes


@dataclass(frozen=True, eq=False)
class Step:
    """One batch under the learner's own prompts.

    ``image`` ``(B, E)`` and ``text`` ``(C, E)`` are of unit length; ``scale`` is the temperature's
    inverse, so that ``logits`` ``(B, C)`` is ``scale * image @ text.T``.
    """

    images: ImageBatch
    classes: Classes
    image: Tensor
    text: Tensor
    scale: Tensor
    logits: Tensor
    generator: torch.Generator | None

    def teacher_features(self) -> Tensor:
        """Prompt-free features ``(B, E)`` of the same view, of unit length."""
        assert self.images.features is not None, "the term did not say that it needs features"
        return torch.nn.functional.normalize(self.images.features.to(self.image.dtype), dim=-1)


class Term(Protocol):
    """One or several weighted terms of a loss."""

    @property
    def needs(self) -> Needs:
        """What of an image it reads."""

    def __call__(self, step: Step) -> dict[str, Tensor]:
        """Return weighted scalars by name."""
