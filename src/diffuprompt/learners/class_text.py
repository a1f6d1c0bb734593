"""What a generator of prompts is told of an image: its feature, and the classes it resembles.

Legend: B image, C class, E embedding, T texts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.clip.model import Clip, normalize
from diffuprompt.clip.text import TextPlan
from diffuprompt.errors import ConfigError
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.teachers import TemplateTeacher


def check_texts(texts: int, classes: Classes) -> None:
    """Raise `ConfigError` where an image cannot bring so many classes along."""
    if texts > len(classes):
        raise ConfigError(
            f"diffusion.text_tokens: each image brings {texts} classes along, but only "
            f"{len(classes)} are told apart; give more class names, or train with fewer"
        )


class Condition:
    """Image features with the zero-shot text features of the nearest classes behind them.

    Evidence from class names is what helps new classes (CaPT, arXiv 2506.23856). The classes are
    those at hand, so the same generator serves any list of names, and their order does not matter:
    texts come in order of similarity.
    """

    def __init__(self, clip: Clip, texts: int, plan: TextPlan) -> None:
        """Build the condition.

        Args:
            clip: the frozen backbone; "a photo of a {}." is its text.
            texts: T, the classes an image brings along; 0 for the image feature alone.
            plan: how text features are computed.
        """
        self.texts = texts
        self._teacher = TemplateTeacher(clip, "single", plan)

    @torch.no_grad()
    def __call__(self, features_BE: Tensor, classes: Classes) -> Tensor:
        """Return ``(B, E)`` as given, or ``(B, 1 + T, E)`` with T of ``classes`` behind it.

        Raises:
            ConfigError: there are fewer classes than texts.
        """
        if not self.texts:
            return features_BE
        check_texts(self.texts, classes)
        text_CE = self._teacher.text(classes).to(features_BE)
        nearest_BT = (normalize(features_BE) @ text_CE.T).topk(self.texts, dim=1).indices
        return torch.cat([features_BE[:, None], text_CE[nearest_BT]], dim=1)
