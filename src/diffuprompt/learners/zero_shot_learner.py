"""Zero-shot CLIP: hand-written templates, nothing learned.

Legend: C class, E embedding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from diffuprompt.clip import ENSEMBLES, Clip, PromptedTokens, TextPlan, normalize
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.zero_shot import ZeroShotOptions
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
        each = [t for entry in options.templates for t in ENSEMBLES.get(entry, (entry,))]
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
        each = [
            self.clip.text(classes.sentences(self.clip, template), None, self.plan)
            for template in self.options.templates
        ]
        return each[0] if len(each) == 1 else torch.stack([normalize(f) for f in each]).mean(0)
