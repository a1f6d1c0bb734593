"""Zero-shot CLIP: hand-written templates, nothing learned.

Legend: C class, E embedding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from diffuprompt.clip import Clip, PromptedTokens, TextPlan
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.zero_shot import ZeroShotOptions
from diffuprompt.learners.options import spelled_out
from diffuprompt.learners.sentences import sentence_features
from diffuprompt.prompts import Prompts, PromptSpec, TowerPrompts


class ZeroShot(Learner):
    """CLIP with one template or the average over several (Radford et al. 2021, section 3.1.4).

    With several templates, text features are normalised, averaged and normalised again.
    """

    options: ZeroShotOptions

    def __init__(
        self,
        clip: Clip,
        options: ZeroShotOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`, of which ``generator`` is not used.

        Its options hold the templates of an ensemble in the place of the ensemble's name, so that
        an artifact stays what it is whatever an ensemble becomes.
        """
        each = spelled_out(options.templates)
        super().__init__(clip, replace(options, templates=each), plan=plan)

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
