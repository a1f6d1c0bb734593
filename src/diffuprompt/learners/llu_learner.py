"""LLU: localized latent updates of both feature spaces (Tsai et al. 2023, arXiv 2212.06556).

Legend: B image, C class, N training images, K training classes, E embedding, M context tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip import Clip, PromptedTokens, TextPlan, normalize
from diffuprompt.data import ImageBatch
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import Learner, TrainingImages, initial_context, labels_of
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.llu import LluOptions
from diffuprompt.prompts import Prompts, PromptSpec, Slot, TowerPrompts

BLOCK = 1024  # centres that a batch is compared with at once


class Affine(nn.Module):
    """``A z + b``, which starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, z: Tensor) -> Tensor:
        """``(..., E)`` to ``(..., E)``."""
        return functional.linear(z, self.weight, self.bias)

    def from_identity(self) -> Tensor:
        """Mean squares of what differs from the identity, of the map and of the offset, added."""
        identity = torch.eye(len(self.bias), dtype=self.bias.dtype, device=self.bias.device)
        return (self.weight - identity).square().mean() + self.bias.square().mean()


class LLU(Learner):
    """An affine map of each feature space that acts only near what was trained on.

    A unit feature z at distance ``delta = clamp(1 - max_k <z, centre_k>, 0, 1)`` of the nearest
    centre becomes ``norm(a norm(A z + b) + (1 - a) z)`` with ``a = gate exp(-gamma delta)``. No
    gradient flows through ``a``. Centres are the training images' features, averaged over views,
    and the text features of the training classes; features of other classes are far from all of
    them and stay what they were.

    The nearest centre is each feature's own: the released code takes one maximum over the batch, so
    that predictions depend on what else is in it.

    What may be generated is the hand-written context, whose own values (V0) are its words' vectors
    and are not learned. A generated context takes its place; maps and centres stay. The released
    code cuts gradients off from z, which is frozen there; here they pass, since a context that is
    overfitted moves z.
    """

    options: LluOptions
    image_centres: Tensor
    text_centres: Tensor

    def __init__(
        self,
        clip: Clip,
        options: LluOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`, of which ``generator`` is not used."""
        super().__init__(clip, options, plan=plan)
        width = clip.config.embed_dim
        self.maps = nn.ModuleDict({"image": Affine(width), "text": Affine(width)})
        self._texts: tuple[Classes, Tensor] | None = None
        self._allocate(options.size, options.num_classes)
        self.to(clip.device)

    def _allocate(self, images: int, classes: int) -> None:
        width, device = self.clip.config.embed_dim, self.clip.device
        self.register_buffer("image_centres", torch.zeros(images, width, device=device))
        self.register_buffer("text_centres", torch.zeros(classes, width, device=device))

    @property
    def spec(self) -> PromptSpec:
        """One text slot at layer 0."""
        length, width = self.options.num_ctx, self.clip.config.text.width
        return PromptSpec((Slot(name="text.0", tower="text", layer=0, length=length, width=width),))

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return the words' vectors as ``(1, 1, M, D)``."""
        words = initial_context(self.clip, self.options.num_ctx, self.options.ctx_init, None)
        return Prompts({"text.0": words[None, None]})

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the names behind the context."""
        options = self.options
        return classes.tokens(self.clip, prefix=options.ctx_init, num_ctx=options.num_ctx)

    @property
    def start_views(self) -> int:
        """As many as image centres are averaged over."""
        return self.options.views

    @torch.no_grad()
    def start(self, images: TrainingImages) -> None:
        """Find the centres."""
        views = [images.view(view).float() for view in range(self.start_views)]
        centres = normalize(torch.stack(views).mean(0))
        texts = normalize(self._own_text(images.classes)[0].float())
        self._allocate(len(centres), len(texts))
        self.image_centres.copy_(centres)
        self.text_centres.copy_(texts)
        self.options = replace(self.options, size=len(centres), num_classes=len(texts))

    def text_features(self, classes: Classes, prompts: TowerPrompts) -> Tensor:
        """Updated text features ``(B|1, C, E)``, of unit length."""
        return self._updated("text", super().text_features(classes, prompts))

    def image_features(self, images: ImageBatch, prompts: TowerPrompts) -> Tensor:
        """Updated image features ``(B, E)``, of unit length."""
        return self._updated("image", super().image_features(images, prompts))

    def shares(self, space: str, z: Tensor) -> Tensor:
        """Return ``a`` ``(..., 1)``, the update's share, of unit features ``(..., E)``."""
        centres = self.image_centres if space == "image" else self.text_centres
        if not len(centres):
            raise ConfigError(f"{self.name} has no centres yet; they are found before training")
        z = z.detach()
        nearest = torch.full_like(z[..., :1], -torch.inf)
        for block in centres.split(BLOCK):
            nearest = torch.maximum(nearest, (z @ block.T).amax(-1, keepdim=True))
        delta = (1 - nearest).clamp(0, 1)
        return self.options.gate * torch.exp(-self.options.gamma * delta)

    def _updated(self, space: str, features: Tensor) -> Tensor:
        z = normalize(features.to(self.image_centres.dtype))
        share = self.shares(space, z)
        moved = normalize(self.maps[space](z))
        return normalize(share * moved + (1 - share) * z).to(features.dtype)

    def loss(
        self, images: ImageBatch, classes: Classes, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return "ce", "identity" (what holds the maps near where they start) and their "loss"."""
        text = self._updated("text", self._own_text(classes))
        logits = self.clip.logits(self._updated("image", self.features(images)), text)
        ce = functional.cross_entropy(logits, labels_of(images))
        affine = [part for part in self.maps.values() if isinstance(part, Affine)]
        identity = self.options.pull * torch.stack([a.from_identity() for a in affine]).sum()
        return {"loss": ce + identity, "ce": ce, "identity": identity}

    @torch.no_grad()
    def _own_text(self, classes: Classes) -> Tensor:
        """Text features ``(1, C, E)`` of the hand-written context, computed once per class list."""
        if self._texts is None or self._texts[0] is not classes:
            prompts = self.render(self.prompts(self._no_image()))
            self._texts = (classes, super().text_features(classes, prompts))
        return self._texts[1]
