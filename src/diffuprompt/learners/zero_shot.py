"""Zero-shot CLIP: hand-written templates, nothing learned.

Legend: C class, E embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffuprompt.clip.model import Clip, normalize
from diffuprompt.clip.templates import ENSEMBLES
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import PromptedTokens
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.prompts import Prompts, PromptSpec, TowerPrompts


class ZeroShot(Learner):
    """CLIP with one template or the average over several (Radford et al. 2021, section 3.1.4).

    With several templates, text features are normalised, averaged and normalised again.
    """

    name = "zero-shot"

    def __init__(
        self,
        clip: Clip,
        *,
        templates: Sequence[str] = ("a photo of a {}.",),
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner.

        Args:
            clip: frozen backbone.
            templates: sentences with ``{}`` in the place of the class name, or names of ensembles:
                "imagenet-7", "imagenet-80", "promptsrc-60".
            plan: how text features are computed.
            generator: not used; learners share one signature.
        """
        super().__init__(clip, plan)
        self.templates = tuple(t for entry in templates for t in ENSEMBLES.get(entry, (entry,)))
        wrong = [t for t in self.templates if "{}" not in t]
        if wrong or not templates:
            raise ConfigError(
                f"templates: expected sentences with {{}} where the name goes, or some of "
                f"{list(ENSEMBLES)}, got {list(templates)}"
            )

    @property
    def spec(self) -> PromptSpec:
        """Nothing may be generated."""
        return PromptSpec()

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return no prompts."""
        return Prompts({})

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the sentences of the first template."""
        return classes.sentences(self.clip, self.templates[0])

    def text_features(self, classes: Classes, prompts: TowerPrompts) -> Tensor:
        """Return ``(1, C, E)``, averaged over templates."""
        each = [
            self.clip.text(classes.sentences(self.clip, t), None, self.plan) for t in self.templates
        ]
        return each[0] if len(each) == 1 else torch.stack([normalize(f) for f in each]).mean(0)

    def config(self) -> dict[str, Any]:
        """Return the templates."""
        return {"templates": list(self.templates)}
