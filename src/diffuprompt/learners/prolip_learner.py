"""ProLIP: the image tower with another projection (arXiv 2410.05270).

Legend: B image, C class, D width of the image tower, E embedding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip import Clip, TextPlan
from diffuprompt.data import ImageBatch, Needs
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import TrainingImages, labels_of
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.prolip import ProLipOptions
from diffuprompt.learners.zero_shot_learner import ZeroShot
from diffuprompt.prompts import TowerPrompts


class ProLip(ZeroShot):
    """Zero-shot CLIP whose image features are ``projection @ pooled``; any class list is served.

    ``pooled`` is the tower's state before its projection, which the tower hands out: no weight of
    it changes. The loss is the cross-entropy and ``pull * |projection - start|^2``, entries summed.
    """

    options: ProLipOptions

    def __init__(
        self,
        clip: Clip,
        options: ProLipOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`, of which ``generator`` is not used."""
        super().__init__(clip, options, plan=plan)
        self.projection = nn.Parameter(self._initial().detach().float().clone())
        self._text: tuple[Classes, Tensor] | None = None

    def _initial(self) -> Tensor:
        return self.clip.vision.projection.weight

    @property
    def needs(self) -> Needs:
        """The image tower's state before its projection."""
        return Needs(features=False, pooled=True)

    def start(self, images: TrainingImages) -> None:
        """Count the pictures of a class."""
        self.options = replace(self.options, shots=len(images.labels) / len(images.classes))

    def image_features(self, images: ImageBatch, prompts: TowerPrompts) -> Tensor:
        """Return ``(B, E)`` of the learned projection, not normalised."""
        pooled = images.pooled
        if pooled is None:
            pooled = self.clip.vision.pooled(self.grid(images))
        projected = functional.linear(pooled.to(self.projection.dtype), self.projection)
        return projected.to(self.clip.logit_scale.dtype)

    def loss(
        self, images: ImageBatch, classes: Classes, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "loss" and its terms "ce" and "pull"; see `Learner.loss`."""
        logits = self.logits(images, classes, text=self._frozen_text(classes))
        ce = functional.cross_entropy(logits, labels_of(images))
        moved = self.projection - self._initial().to(self.projection.dtype)
        pull = self._weight() * moved.square().sum()
        return {"loss": ce + pull, "ce": ce, "pull": pull}

    def _frozen_text(self, classes: Classes) -> Tensor:
        """Return text features, which no step changes: encoded once for all steps."""
        if self._text is None or self._text[0] is not classes:
            with torch.no_grad():
                text = self.static_text(classes)
            assert text is not None
            self._text = (classes, text)
        return self._text[1]

    def _weight(self) -> float:
        if self.options.pull is not None:
            return self.options.pull
        if not self.options.shots:
            raise ConfigError(
                f"{self.name}: learner.pull is 1 / shots, and there are no pictures yet; start it "
                "on some, or set learner.pull"
            )
        return 1 / self.options.shots
