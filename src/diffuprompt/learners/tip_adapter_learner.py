"""Tip-Adapter: logits of the most similar training images (arXiv 2207.09519).

Legend: B image, C class, N training images, K classes of training, E embedding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from diffuprompt.clip import Clip, PromptedTokens, TextPlan, normalize
from diffuprompt.data import ImageBatch
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import Learner, TrainingImages
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.tip_adapter import TipOptions
from diffuprompt.learners.options import spelled_out
from diffuprompt.learners.sentences import sentence_features
from diffuprompt.prompts import Prompts, PromptSpec, TowerPrompts


class TipAdapter(Learner):
    """``zero-shot + alpha * exp(-beta (1 - f . keys)) @ one-hot labels`` (eq. 4-5).

    Keys are the training images' features, averaged over views and normalised. A class that was
    not trained has no keys and keeps its zero-shot logit; the authors only score trained classes.
    With ``tune`` the keys are learned from there (Tip-Adapter-F, section 3.2).
    """

    options: TipOptions
    keys: Tensor
    labels: Tensor

    def __init__(
        self,
        clip: Clip,
        options: TipOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`, of which ``generator`` is not used."""
        options = replace(options, templates=spelled_out(options.templates))
        super().__init__(clip, options, plan=plan)
        self._allocate(options.size)

    def _allocate(self, size: int) -> None:
        keys = torch.zeros(size, self.clip.config.embed_dim, device=self.clip.device)
        if self.options.tune:
            self.keys = nn.Parameter(keys)
        else:
            self.register_buffer("keys", keys)
        self.register_buffer("labels", torch.zeros(size, dtype=torch.long, device=keys.device))

    @property
    def spec(self) -> PromptSpec:
        """No prompts, so nothing can be generated."""
        return PromptSpec()

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return no prompts."""
        return Prompts({})

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the sentences of the first template."""
        return classes.sentences(self.clip, self.options.templates[0])

    def text_features(self, classes: Classes, prompts: TowerPrompts) -> Tensor:
        """Return ``(1, C, E)``, averaged over templates."""
        return sentence_features(self.clip, classes, self.options.templates, self.plan)

    @property
    def start_views(self) -> int:
        """As many as it averages over."""
        return self.options.views

    def start(self, images: TrainingImages) -> None:
        """Fill the cache."""
        views = [images.view(view).float() for view in range(self.start_views)]
        self._allocate(len(views[0]))
        with torch.no_grad():
            self.keys.copy_(normalize(torch.stack(views).mean(0)))
        self.labels = images.labels.clone()
        names = list(images.classes.names)
        self.options = replace(self.options, trained_classes=names, size=len(self.keys))

    def logits(
        self,
        images: ImageBatch,
        classes: Classes,
        prompts: Prompts | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Return ``(B, C)`` logits; see `Learner.logits`."""
        zero_shot = super().logits(images, classes, prompts, text)
        feature_BE = normalize(self.features(images).to(self.keys.dtype))
        near_BN = torch.exp(-self.options.beta * (1 - feature_BE @ self.keys.T))
        near_BC = near_BN @ self._values(classes)
        return zero_shot + self.options.alpha * near_BC.to(zero_shot.dtype)

    def _values(self, classes: Classes) -> Tensor:
        """Return one-hot labels ``(N, C)`` among ``classes``; none for an absent class."""
        if not len(self.keys):
            raise ConfigError(f"{self.name} has no cache yet; it is filled before training")
        place = {name: i for i, name in enumerate(classes.names)}
        target_K = torch.tensor([place.get(name, -1) for name in self.options.trained_classes])
        target_N = target_K.to(self.keys.device)[self.labels]
        wanted_C = torch.arange(len(classes), device=self.keys.device)
        return (target_N[:, None] == wanted_C).to(self.keys.dtype)
