"""2SFS: norms of both towers, then a classifier (Farina et al. 2025, CVPR, arXiv 2503.11609).

Legend: B image, C class, K classes of training, E embedding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip import Clip, PromptedTokens, TextPlan, normalize
from diffuprompt.data import ImageBatch
from diffuprompt.engine import first_stage
from diffuprompt.learners.base import TrainingImages, labels_of
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.two_stage import TwoStageOptions
from diffuprompt.learners.options import spelled_out
from diffuprompt.learners.tower_changes import NormCopies
from diffuprompt.learners.tuned_towers import Changes, TunedTowers
from diffuprompt.prompts import Prompts, PromptSpec, Tower, TowerPrompts


class TwoStage(TunedTowers):
    """First the norms of both towers learn, then one row for each training class.

    The rows start as the tuned text features and take their place in the logits of their classes,
    found by name; the text tower embeds all other names ("selective inference"). The first stage
    ends with the epoch nearest to 60 % of all; what belongs to the other stage gets no gradient, so
    no optimiser moves it.
    """

    options: TwoStageOptions
    second: Tensor

    def __init__(
        self,
        clip: Clip,
        options: TwoStageOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`, of which ``generator`` is not used."""
        options = replace(options, templates=spelled_out(options.templates))
        super().__init__(clip, options, plan=plan)
        self.norms = nn.ModuleDict(
            {"text": NormCopies(clip.text), "vision": NormCopies(clip.vision)}
        )
        rows = torch.zeros(len(options.trained_classes), clip.config.embed_dim)
        self.rows = nn.Parameter(rows)
        self.register_buffer("second", torch.tensor(False))  # whether the rows count yet
        self.to(clip.device)

    @property
    def templates(self) -> list[str]:
        """The options'."""
        return self.options.templates

    @property
    def spec(self) -> PromptSpec:
        """No prompts, so nothing can be generated."""
        return PromptSpec()

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return no prompts."""
        return Prompts({})

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the sentences of the first template."""
        return classes.sentences(self.clip, self.templates[0])

    def start(self, images: TrainingImages) -> None:
        """Make room for a row of each training class."""
        names = list(images.classes.names)
        self.options = replace(self.options, trained_classes=names)
        rows = torch.zeros(len(names), self.clip.config.embed_dim, device=self.clip.device)
        self.rows = nn.Parameter(rows)

    def changes(self, generator: torch.Generator | None = None) -> Changes:
        """Return the norms of both towers; nothing is random in them."""
        dtype = self.clip.logit_scale.dtype

        def of(tower: Tower) -> NormCopies:
            norms = self.norms[tower]
            assert isinstance(norms, NormCopies)
            return norms

        return {"text": of("text").change(dtype), "vision": of("vision").change(dtype)}

    def changed_text(self, classes: Classes, prompts: TowerPrompts, changes: Changes) -> Tensor:
        """Text features ``(1, C, E)``: rows of known names, the changed tower's of others."""
        if not self.second:
            return super().changed_text(classes, prompts, changes)
        place = {name: i for i, name in enumerate(self.options.trained_classes)}
        known = [i for i, name in enumerate(classes.names) if name in place]
        others = [i for i, name in enumerate(classes.names) if name not in place]
        at = torch.tensor([place[classes.names[i]] for i in known], device=self.rows.device)
        parts = [self.rows[at.long()][None].to(self.clip.logit_scale.dtype)]
        if others:
            rest = super().changed_text(classes.select(others), prompts, changes)
            parts.append(normalize(rest))
        order = torch.tensor([*known, *others], device=self.rows.device)
        return torch.cat(parts, dim=1)[:, order.argsort()]

    def loss(
        self, images: ImageBatch, classes: Classes, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the cross-entropy, of which only the present stage's learnables are part."""
        if not self.second:
            return super().loss(images, classes, generator)
        with torch.no_grad():
            changes, prompts = self.changes(), self.render(self.own_prompts(images))
            image = self.changed_images(images, prompts, changes)
        logits = self.clip.logits(image, self.changed_text(classes, prompts, changes))
        return {"loss": functional.cross_entropy(logits, labels_of(images))}

    @torch.no_grad()
    def after_epoch(self, epoch: int, epochs: int) -> None:
        """After the last epoch of the first stage, start the rows from the tuned text features."""
        if epoch + 1 != first_stage(epochs):
            return
        classes = Classes(self.options.trained_classes)
        text = self.changed_text(classes, TowerPrompts(), self.changes())
        self.rows.copy_(normalize(text)[0])
        self.second.fill_(True)
