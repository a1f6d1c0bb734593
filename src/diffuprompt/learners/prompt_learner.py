"""Prompts x losses: the learner that every method of deep prompts is a setting of.

Legend: B image, C class, E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.clip import SINGLE, Clip, PromptedTokens, TextPlan, normalize
from diffuprompt.data import ImageBatch, Needs
from diffuprompt.learners.aggregation import PromptAggregation
from diffuprompt.learners.base import Learner, labels_of
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.deep_prompts import build_prompts
from diffuprompt.learners.feature_adapter import FeatureAdapter
from diffuprompt.learners.losses.consistency import Consistency
from diffuprompt.learners.losses.projection import GeneralKnowledge, projected
from diffuprompt.learners.losses.self_regulation import SelfRegulation
from diffuprompt.learners.losses.step import Step, Term
from diffuprompt.learners.options import spelled_out
from diffuprompt.learners.prompt_options import PromptOptions
from diffuprompt.learners.sentences import sentence_features
from diffuprompt.learners.teachers import SentenceTeacher, TemplateTeacher
from diffuprompt.prompts import Prompts, PromptSpec, TowerPrompts


class PromptLearner(Learner):
    """A family of prompts, terms of a loss, adapters and an average over epochs; see the options.

    "PromptSRC's losses on MaPLe's prompts" is ``prompts="coupled", text_l1=25, image_l1=10, kl=1``.
    """

    options: PromptOptions

    def __init__(
        self,
        clip: Clip,
        options: PromptOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`."""
        options = replace(options, templates=spelled_out(options.templates))
        super().__init__(clip, options, plan=plan)
        self.family = build_prompts(clip, self.options, generator)
        self.adapters = torch.nn.ModuleDict(
            {
                tower: FeatureAdapter(clip.config.embed_dim, share, generator)
                for tower, share in self._shares().items()
                if share
            }
        )
        self._terms = self.build_terms()
        self._general = None
        if self.options.projection:
            self._general = GeneralKnowledge(self.template_teacher())
        self._average = None
        if self.options.gpa_std:
            self._average = PromptAggregation(self.options.gpa_mean, self.options.gpa_std)
        self.to(clip.device)

    @property
    def spec(self) -> PromptSpec:
        """What may be generated."""
        return self.family.spec

    @property
    def prompts_enter_images(self) -> bool:
        """Where there are vision prompts, coupled ones included."""
        return bool(self.options.vision[0])

    @property
    def training_needs(self) -> Needs:
        """Also what the terms of the loss read."""
        needs = self.needs
        for term in (*self._terms, *([self._general] if self._general else [])):
            needs = needs | term.needs
        return needs

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return the learned tokens, shared by all images and classes."""
        return Prompts(self.family.source())

    def render(self, prompts: Prompts) -> TowerPrompts:
        """Return what the towers take; couplings are applied here."""
        return self.family.render(prompts)

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the names behind the context and what is left of the initial words."""
        options = self.options
        prefix = None if options.zeros else options.ctx_init  # of these no word is left over
        return classes.tokens(self.clip, prefix=prefix, num_ctx=options.num_ctx)

    def text_features(self, classes: Classes, prompts: TowerPrompts) -> Tensor:
        """Text features ``(B|1, C, E)``, adapted, not normalised."""
        if self.options.templates == [SINGLE]:
            return self._adapt("text", super().text_features(classes, prompts))
        found = sentence_features(self.clip, classes, self.options.templates, self.plan)
        return self._adapt("text", found)

    def image_features(self, images: ImageBatch, prompts: TowerPrompts) -> Tensor:
        """Image features ``(B, E)``, adapted, not normalised."""
        return self._adapt("image", super().image_features(images, prompts))

    def loss(
        self, images: ImageBatch, classes: Classes, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return cross-entropy, every weighted term, and their sum under "loss"."""
        towers = self.render(self.own_prompts(images))
        text = normalize(self.text_features(classes, towers))[0]
        image = normalize(self.image_features(images, towers))
        logits = self.clip.scale * image @ text.T
        step = Step(images, classes, image, text, self.clip.scale, logits, generator)
        terms = {"ce": functional.cross_entropy(logits, labels_of(images))}
        for term in self._terms:
            terms |= term(step)
        total = torch.stack(list(terms.values())).sum()
        if self._general is not None:
            general = self._general(step)
            share = self.options.projection
            total = projected(total, general["general"], self.parameters(), share)
            terms |= general
        return {"loss": total, **terms}

    def after_epoch(self, epoch: int, epochs: int) -> None:
        """Aggregate prompts, where asked for."""
        if self._average is not None:
            self._average.after_epoch(self, epoch, epochs)

    def training_state(self) -> dict[str, Tensor]:
        """Return the aggregation's sums."""
        return {} if self._average is None else self._average.state()

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the aggregation's sums back."""
        if self._average is not None:
            self._average.load_state(state, self.clip.device)

    def build_terms(self) -> tuple[Term, ...]:
        """Return the terms of the loss beside cross-entropy; a kind of its own adds others."""
        options, terms = self.options, list[Term]()
        if options.text_l1 or options.image_l1 or options.kl:
            weights = {"text": options.text_l1, "image": options.image_l1, "kl": options.kl}
            terms.append(SelfRegulation(self.template_teacher(), **weights))
        if options.consistency:
            teacher = SentenceTeacher(self.clip, options.teacher, options.sentences, self.plan)
            terms.append(Consistency(teacher, weight=options.consistency, kind=options.distance))
        return tuple(terms)

    def template_teacher(self) -> TemplateTeacher:
        """Return zero-shot text features of the options' templates, as a teacher."""
        return TemplateTeacher(self.clip, self.options.teacher, self.plan)

    def _shares(self) -> dict[str, float]:
        return {"image": self.options.image_adapter, "text": self.options.text_adapter}

    def _adapt(self, tower: str, features: Tensor) -> Tensor:
        return self.adapters[tower](features) if tower in self.adapters else features
