"""Text features of frozen CLIP that learned ones are compared with, computed once per class list.

Legend: C class, S sentence, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.clip import Clip, TextPlan, normalize
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.options import spelled_out


class TemplateTeacher:
    """The average over templates (PromptSRC, arXiv 2307.06948, section 3.2.3)."""

    def __init__(self, clip: Clip, ensemble: str, plan: TextPlan) -> None:
        self.clip, self.templates, self.plan = clip, spelled_out([ensemble]), plan
        self._kept: tuple[Classes, Tensor] | None = None

    @torch.no_grad()
    def text(self, classes: Classes) -> Tensor:
        """Return ``(C, E)``: features are averaged as they are and normalised afterwards."""
        if self._kept is None or self._kept[0] is not classes:
            total: Tensor | float = 0.0
            for template in self.templates:
                tokens = classes.sentences(self.clip, template)
                total = total + self.clip.text(tokens, None, self.plan)[0].float()
            self._kept = (classes, normalize(torch.as_tensor(total) / len(self.templates)))
        return self._kept[1]


class SentenceTeacher:
    """Many sentences per class, each a teacher (CoPrompt, arXiv 2306.01195, section 3.2)."""

    def __init__(self, clip: Clip, ensemble: str, source: str, plan: TextPlan) -> None:
        """Build the teacher.

        Args:
            clip: frozen backbone.
            ensemble: templates where the class list has no descriptions.
            source: "llm" insists on descriptions, "templates" ignores them, "auto" takes what is
                there.
            plan: how text features are computed.
        """
        self.clip, self.ensemble, self.source, self.plan = clip, ensemble, source, plan
        self._kept: tuple[Classes, Tensor] | None = None

    @torch.no_grad()
    def text(self, classes: Classes) -> Tensor:
        """Return ``(S, C, E)``, normalised."""
        if self._kept is None or self._kept[0] is not classes:
            described = bool(classes.descriptions) and self.source != "templates"
            if described:
                count = len(classes.descriptions[0])
                tokens = [classes.described(self.clip, i) for i in range(count)]
            else:
                tokens = [classes.sentences(self.clip, t) for t in spelled_out([self.ensemble])]
            each = [normalize(self.clip.text(t, None, self.plan)[0].float()) for t in tokens]
            self._kept = (classes, torch.stack(each))
        return self._kept[1]
