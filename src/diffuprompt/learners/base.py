"""What every prompt learner is: source prompts, how they enter the towers, and logits.

Legend: B image, C class, L prompt token, D width, E embedding.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip import Clip, PromptedTokens, TextPlan, normalize
from diffuprompt.data import ImageBatch, Needs
from diffuprompt.errors import ConfigError
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.options import Options, too_few_words
from diffuprompt.prompts import Prompts, PromptSpec, TowerPrompts


class TrainingImages(Protocol):
    """What `Learner.start` may look at; N images."""

    @property
    def labels(self) -> Tensor:
        """Labels ``(N,)``."""

    @property
    def classes(self) -> Classes:
        """What the labels count."""

    def view(self, view: int) -> Tensor:
        """Prompt-free features ``(N, E)`` of one random view."""


class Learner(nn.Module, ABC):
    """A way to make prompts for a frozen CLIP.

    Its state dict holds learnables only: the CLIP is reached through ``clip`` but is not a
    submodule. Subclasses give ``spec`` (what may be generated), ``prompts`` (its own), ``tokens``
    (where text prompts stand), and, where source prompts are not yet what towers take, ``render``.
    All are built by ``(clip, options, plan=..., generator=...)``.
    """

    name: str  # of the method; one class may serve several
    options: Options

    def __init__(
        self,
        clip: Clip,
        options: Options,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Keep what every learner has.

        Args:
            clip: frozen backbone.
            options: the learner's own dataclass.
            plan: how text features are computed.
            generator: source of random initial values.
        """
        super().__init__()
        self._frozen = (clip,)  # a tuple: hidden from parameters(), state_dict() and train()
        self.name = type(self).__name__  # until the registry says which method it is
        self.options = options
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

    @property
    def prompts_enter_images(self) -> bool:
        """Whether prompts, or what is made of them, enter the image tower."""
        return self.spec.has_vision

    @property
    def start_views(self) -> int:
        """How many random views of the training images `start` looks at, the first ones."""
        return 0

    @property
    def needs(self) -> Needs:
        """What of an image `logits` reads."""
        vision = self.prompts_enter_images
        return Needs(features=self.own_prompts_need_image or not vision, grid=vision)

    @property
    def training_needs(self) -> Needs:
        """What of an image `loss` reads."""
        return self.needs

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
        if images.grid is None and images.pixels is None:
            raise ConfigError("the image batch has neither pixels nor features")
        return self.clip.vision.from_grid(self.grid(images))

    def grid(self, images: ImageBatch) -> Tensor:
        """What the image tower makes tokens of, ``(B, G, H, W)``; the batch's own if it has it."""
        if images.grid is not None:
            return images.grid
        if images.pixels is None:
            raise ConfigError(
                f"{self.name} reads pixels or grids of images, and this image batch has neither"
            )
        return self.clip.vision.stem(images.pixels)

    def text_features(self, classes: Classes, prompts: TowerPrompts) -> Tensor:
        """Text features ``(B|1, C, E)``, not normalised."""
        return self.clip.text(self.tokens(classes), prompts.text, self.plan)

    def text_states(self, tokens: PromptedTokens, prompts: TowerPrompts) -> Tensor:
        """States of all positions of texts ``(B|1, C, S, D)``: what a text-to-image model reads.

        The plain path, with the prompts that `text_features` would take.
        """
        return self.clip.text.states(tokens, prompts.text)

    def image_features(self, images: ImageBatch, prompts: TowerPrompts) -> Tensor:
        """Image features ``(B, E)`` under vision prompts, not normalised."""
        if not prompts.vision:
            return self.features(images)
        return self.clip.vision.from_grid(self.grid(images), prompts.vision)

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
            prompts = self.own_prompts(images)
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
        return self.text_features(classes, self.render(self.prompts(self._no_image())))

    def own_prompts(self, images: ImageBatch) -> Prompts:
        """Return the learner's own source prompts for a batch; see `prompts`."""
        need = self.own_prompts_need_image
        return self.prompts(self.features(images) if need else self._no_image())

    def start(self, images: TrainingImages) -> None:
        """Look at the training images once before training; most learners need not."""

    @property
    def fit_views(self) -> int:
        """How many random views `fit` looks at, the first ones; 0: there is nothing to fit."""
        return 0

    def fit(self, images: TrainingImages) -> None:
        """Find what is learned without the training loop, once, in closed form or by own steps.

        `start` has been called: the shapes of what is learned are known. What is fitted is not
        trained by the loop as well.
        """

    def loss(
        self, images: ImageBatch, classes: Classes, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the training loss under "loss"; cross-entropy unless a learner says otherwise.

        Args:
            images: B pictures with labels, and with what `training_needs` names.
            classes: what the labels count.
            generator: source of whatever is random in a step.
        """
        labels = labels_of(images)
        return {"loss": functional.cross_entropy(self.logits(images, classes), labels)}

    def after_epoch(self, epoch: int, epochs: int) -> None:
        """Do what follows epoch ``epoch`` (from 0) of ``epochs``, e.g. averaging prompts."""

    def training_state(self) -> dict[str, Tensor]:
        """Return what training accumulates beside the learnables, for resuming."""
        return {}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `training_state` returned."""

    def _no_image(self) -> Tensor:
        return torch.zeros(1, self.clip.config.embed_dim, device=self.clip.device)

    def config(self) -> dict[str, Any]:
        """Return the values of the options, which build a learner of the same shape, as JSON."""
        return dataclasses.asdict(self.options)

    def num_trainable(self) -> int:
        """Number of learnable coordinates."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def labels_of(images: ImageBatch) -> Tensor:
    """Return the labels of a training batch, which must have them."""
    if images.labels is None:
        raise ConfigError("training needs labels, and this image batch has none")
    return images.labels


def initial_context(
    clip: Clip,
    num_ctx: int,
    words: str | None,
    generator: torch.Generator | None,
    *,
    zeros: int = 0,
) -> Tensor:
    """Return ``(M, D)``: word vectors of the first M tokens of ``words``, or N(0, 0.02).

    ``zeros`` rows of zeros stand ahead of them, and are part of the M.
    """
    if zeros:
        rest = initial_context(clip, num_ctx - zeros, words, generator)
        return torch.cat([torch.zeros_like(rest[:1]).expand(zeros, -1), rest])
    if words is None:
        return torch.randn(num_ctx, clip.config.text.width, generator=generator) * 0.02
    if problems := too_few_words(num_ctx, words, clip.tokenizer):
        raise ConfigError("; ".join(problems))
    ids = clip.tokenizer.encode(words)[:num_ctx]
    return clip.text.embed(torch.tensor(ids, device=clip.device)).detach().float().clone()


def linear(
    inputs: int, outputs: int, generator: torch.Generator | None, *, bias: bool = True
) -> nn.Linear:
    """Return a linear map with torch's default range of values, drawn from a named stream."""
    out = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)  # no draw of its own
    for p in out.parameters():
        nn.init.uniform_(p, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return out


def unit(features: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """L2-normalised features in a prompt network's precision, as its condition."""
    return normalize(features.to(dtype))
