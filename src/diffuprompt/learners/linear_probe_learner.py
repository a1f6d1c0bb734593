"""A linear probe on frozen features.

Legend: C class, K classes of training, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffuprompt.clip import normalize
from diffuprompt.learners.base import TrainingImages
from diffuprompt.learners.class_rows import ClassRows, Head, rows_of
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.linear_probe import LinearProbeOptions


class LinearProbe(ClassRows):
    """``scale * f @ w_k + b_k`` of unit features f; ``w`` starts at the unit text features, b at 0.

    The factor of the cosine, ``scale``, stays the backbone's, so that the start is zero-shot CLIP.
    A class that was not trained has its zero-shot logit, which no training moves.
    """

    options: LinearProbeOptions

    def allocate(self) -> None:
        """Make room for K rows and biases."""
        count, width = len(self.options.trained_classes), self.clip.config.embed_dim
        device = self.clip.device
        self.weight = nn.Parameter(torch.zeros(count, width, device=device))
        self.bias = nn.Parameter(torch.zeros(count, device=device))

    def start(self, images: TrainingImages) -> None:
        """Take the text features of the trained classes for rows."""
        super().start(images)
        with torch.no_grad():
            text = self.static_text(images.classes)
            assert text is not None
            self.weight.copy_(normalize(text[0]))

    def reads_text(self, classes: Classes) -> bool:
        """Only of classes that were not trained."""
        return bool((self.places(classes) < 0).any())

    def head(self, classes: Classes, text: Tensor | None) -> Head:
        """Return own rows of trained classes and the cosine of the others."""
        at_C = self.places(classes)
        scale = self.clip.scale
        return Head(
            text_C=None if text is None else scale * (at_C < 0),
            weight_CE=scale.to(self.weight.dtype) * rows_of(self.weight, at_C),
            bias_C=rows_of(self.bias, at_C),
        )
