"""What every prompt learner is: source prompts, how they enter the towers, and logits.

Legend: B image, C class, L prompt token, D width, E embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip.model import Clip, normalize
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import PromptedTokens
from diffuprompt.data.images import ImageBatch
from diffuprompt.errors import ConfigError
from diffuprompt.learners.classes import Classes
from diffuprompt.prompts import Prompts, PromptSpec, TowerPrompts


class Learner(nn.Module, ABC):
    """A way to make prompts for a frozen CLIP.

    Its state dict holds learnables only: the CLIP is reached through ``clip`` but is not a
    submodule. Subclasses give ``spec`` (what may be generated), ``prompts`` (its own), ``tokens``
    (where text prompts stand), and, where source prompts are not yet what towers take, ``render``.
    """

    name: ClassVar[str]

    def __init__(self, clip: Clip, plan: TextPlan | None = None) -> None:
        super().__init__()
        self._frozen = (clip,)  # a tuple: hidden from parameters(), state_dict() and train()
        self.plan = plan or TextPlan()

    @property
    def clip(self) -> Clip:
        """The frozen backbone."""
        return self._frozen[0]

    @property
    @abstractmethod
    def spec(self) -> PromptSpec:
        """What may be generated."""

    @property
    def own_prompts_need_image(self) -> bool:
        """Whether `prompts` depends on the image, so that text cannot be computed once."""
        return False

    @abstractmethod
    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return the learner's own source prompts.

        Args:
            features_BE: prompt-free image features, not normalised. Learners whose prompts do
                not depend on the image return a batch of 1.
        """

    @abstractmethod
    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the class names with places for this learner's text prompts."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the keyword arguments that build an equal learner, as JSON."""

    def render(self, prompts: Prompts) -> TowerPrompts:
        """Turn source prompts into what each tower takes at each layer; pure."""
        towers: dict[str, dict[int, Tensor]] = {"text": {}, "vision": {}}
        for slot in self.spec.slots:
            towers[slot.tower][slot.layer] = prompts[slot.name]
        return TowerPrompts(**towers)

    def features(self, images: ImageBatch) -> Tensor:
        """Prompt-free image features ``(B, E)``, not normalised; the batch's own if it has them."""
        if images.features is not None:
            return images.features
        if images.pixels is None:
            raise ConfigError("the image batch has neither pixels nor features")
        return self.clip.vision(images.pixels)

    def text_features(self, classes: Classes, prompts: TowerPrompts) -> Tensor:
        """Text features ``(B|1, C, E)``, not normalised."""
        return self.clip.text(self.tokens(classes), prompts.text, self.plan)

    def image_features(self, images: ImageBatch, prompts: TowerPrompts) -> Tensor:
        """Image features ``(B, E)`` under vision prompts, not normalised."""
        if not prompts.vision:
            return self.features(images)
        if images.pixels is None:
            raise ConfigError(f"{self.name} has vision prompts: the image batch needs pixels")
        return self.clip.vision(images.pixels, prompts.vision)

    def logits(
        self,
        images: ImageBatch,
        classes: Classes,
        prompts: Prompts | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Return ``(B, C)`` logits.

        Args:
            images: B pictures, as pixels or as prompt-free features.
            classes: C names.
            prompts: source prompts to use in the place of the learner's own, shared or per image.
            text: what `static_text` returned for ``classes``, to save computing it again.
        """
        if prompts is None:
            prompts = self.prompts(self.features(images))
        else:
            self.spec.check(prompts)
        towers = self.render(prompts)
        if text is None:
            text = self.text_features(classes, towers)
        return self.clip.logits(self.image_features(images, towers), text)

    def static_text(self, classes: Classes) -> Tensor | None:
        """Text features of the learner's own prompts, or None where they depend on the image."""
        if self.own_prompts_need_image:
            return None
        nothing = torch.zeros(1, self.clip.config.embed_dim, device=self.clip.device)
        return self.text_features(classes, self.render(self.prompts(nothing)))

    def loss(self, images: ImageBatch, classes: Classes) -> dict[str, Tensor]:
        """Return the training loss under "loss"; cross-entropy unless a learner says otherwise."""
        if images.labels is None:
            raise ConfigError("training needs labels, and this image batch has none")
        return {"loss": functional.cross_entropy(self.logits(images, classes), images.labels)}

    def num_trainable(self) -> int:
        """Number of learnable coordinates."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def initial_context(
    clip: Clip, num_ctx: int, words: str | None, generator: torch.Generator | None
) -> Tensor:
    """Return ``(M, D)``: word vectors of the first M tokens of ``words``, or N(0, 0.02)."""
    if words is None:
        return torch.randn(num_ctx, clip.config.text.width, generator=generator) * 0.02
    ids = clip.tokenizer.encode(words)[:num_ctx]
    if len(ids) < num_ctx:
        raise ConfigError(
            f"ctx_init {words!r} has {len(ids)} tokens, fewer than num_ctx={num_ctx}; "
            "give more words or a smaller num_ctx"
        )
    return clip.text.embed(torch.tensor(ids, device=clip.device)).detach().float().cpu().clone()


def unit(features: Tensor) -> Tensor:
    """L2-normalised features in fp32, as conditions of prompt networks."""
    return normalize(features.float())
