"""The trivial control of the open world: a trained method for base names, frozen CLIP for new ones.

Legend: B image, C class: base ones and then new ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.data import ImageBatch, Needs
from diffuprompt.learners import Classes, Learner
from diffuprompt.prompts import Prompts, PromptSpec


class ZeroShotForNew:
    """The logits of a learner on the first ``num_base`` names beside frozen ones on the others."""

    def __init__(self, learner: Learner, frozen: Learner, num_base: int) -> None:
        self.learner, self.frozen, self.num_base = learner, frozen, num_base
        self._text: tuple[Classes, Tensor | None] | None = None

    @property
    def name(self) -> str:
        """The learner's."""
        return self.learner.name

    @property
    def spec(self) -> PromptSpec:
        """What may be generated: the learner's prompts."""
        return self.learner.spec

    @property
    def needs(self) -> Needs:
        """What either reads of an image."""
        return self.learner.needs | self.frozen.needs

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return the learner's own source prompts."""
        return self.learner.prompts(features_BE)

    def static_text(self, classes: Classes) -> Tensor | None:
        """Return the text of the base names, where it does not depend on the image."""
        return self.learner.static_text(classes.select(range(self.num_base)))

    def logits(
        self,
        images: ImageBatch,
        classes: Classes,
        prompts: Prompts | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Return ``(B, C)``; ``prompts`` and ``text`` as in `Learner.logits`, of base names."""
        base = classes.select(range(self.num_base))
        new = classes.select(range(self.num_base, len(classes)))
        if self._text is None or self._text[0] is not new:
            self._text = (new, self.frozen.static_text(new))
        first = self.learner.logits(images, base, prompts, text)
        second = self.frozen.logits(images, new, None, self._text[1])
        return torch.cat([first, second.to(first.dtype)], dim=1)
