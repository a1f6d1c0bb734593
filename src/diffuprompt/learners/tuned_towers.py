"""What learners that change both towers share: texts and images pass the towers as changed.

Legend: B image, C class, E embedding.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.clip import SINGLE, PromptedTokens, TowerChange
from diffuprompt.data import ImageBatch, Needs
from diffuprompt.learners.base import Learner, labels_of
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.sentences import sentence_features
from diffuprompt.prompts import Tower, TowerPrompts

Changes = Mapping[Tower, TowerChange]


class TunedTowers(Learner):
    """A learner of changes; subclasses say which by `changes`.

    The towers are frozen and are never written to: what is learned is an argument of each call.
    """

    @abstractmethod
    def changes(self, generator: torch.Generator | None = None) -> Changes:
        """Return what differs in each tower; ``generator`` is the source of a step's dropout."""

    @property
    def templates(self) -> list[str]:
        """Sentences that stand for a class where there are no text prompts."""
        return [SINGLE]

    @property
    def needs(self) -> Needs:
        """Every image passes the tower anew, so grids."""
        return Needs(features=self.own_prompts_need_image, grid=True)

    def text_features(self, classes: Classes, prompts: TowerPrompts) -> Tensor:
        """Text features ``(B|1, C, E)`` of the changed tower, not normalised."""
        return self.changed_text(classes, prompts, self.changes())

    def text_states(self, tokens: PromptedTokens, prompts: TowerPrompts) -> Tensor:
        """States of all positions of texts in the changed tower; see `Learner.text_states`."""
        return self.clip.text.states(tokens, prompts.text, self.changes()["text"])

    def image_features(self, images: ImageBatch, prompts: TowerPrompts) -> Tensor:
        """Image features ``(B, E)`` of the changed tower, not normalised."""
        return self.changed_images(images, prompts, self.changes())

    def changed_text(self, classes: Classes, prompts: TowerPrompts, changes: Changes) -> Tensor:
        """Text features ``(B|1, C, E)``: of names behind prompts, or of the templates."""
        change = changes["text"]
        if prompts.text:
            return self.clip.text(self.tokens(classes), prompts.text, self.plan, change)
        return sentence_features(self.clip, classes, self.templates, self.plan, change)

    def changed_images(self, images: ImageBatch, prompts: TowerPrompts, changes: Changes) -> Tensor:
        """Image features ``(B, E)``."""
        return self.clip.vision.from_grid(self.grid(images), prompts.vision, changes["vision"])

    def loss(
        self, images: ImageBatch, classes: Classes, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the cross-entropy under one change, whose dropout ``generator`` draws."""
        changes, prompts = self.changes(generator), self.render(self.own_prompts(images))
        text = self.changed_text(classes, prompts, changes)
        logits = self.clip.logits(self.changed_images(images, prompts, changes), text)
        return {"loss": functional.cross_entropy(logits, labels_of(images))}
