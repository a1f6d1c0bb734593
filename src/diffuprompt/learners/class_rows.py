"""Linear classifiers of image features that keep the text tower beside them.

Legend: B image, C class, K classes of training, E embedding.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.clip import Clip, TextPlan, normalize
from diffuprompt.data import ImageBatch
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import TrainingImages
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.class_rows import ClassRowsOptions
from diffuprompt.learners.zero_shot_learner import ZeroShot
from diffuprompt.prompts import Prompts


@dataclass(frozen=True)
class Head:
    """``text_C * cosine + f @ weight_CE.T + bias_C`` of unit image features f.

    ``text_C`` is the factor of the cosine with the class's sentences; None leaves it out.
    """

    text_C: Tensor | None
    weight_CE: Tensor
    bias_C: Tensor


class ClassRows(ZeroShot):
    """Zero-shot CLIP whose trained classes have rows of their own, found by name.

    A class that was not trained keeps what the text tower says of it, unless a subclass knows
    better. Nothing in it is a prompt, so nothing can be generated.
    """

    options: ClassRowsOptions

    def __init__(
        self,
        clip: Clip,
        options: ClassRowsOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`, of which ``generator`` is not used."""
        super().__init__(clip, options, plan=plan)
        self.allocate()

    @abstractmethod
    def allocate(self) -> None:
        """Make room, of zeros, for what is learned of ``options.trained_classes``."""

    @abstractmethod
    def head(self, classes: Classes, text: Tensor | None) -> Head:
        """Return the classifier of C classes; ``text`` is ``(1, C, E)``, None if none is read."""

    def reads_text(self, classes: Classes) -> bool:
        """Whether `head` asks for text features of these classes."""
        return True

    def start(self, images: TrainingImages) -> None:
        """Note the trained classes, and make room for their rows."""
        self.options = replace(self.options, trained_classes=list(images.classes.names))
        self.allocate()

    def logits(
        self,
        images: ImageBatch,
        classes: Classes,
        prompts: Prompts | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Return ``(B, C)`` logits; see `Learner.logits`."""
        self.spec.check(Prompts({}) if prompts is None else prompts)
        if not self.options.trained_classes:
            raise ConfigError(f"{self.name} knows no class yet; it is started before training")
        if text is None and self.reads_text(classes):
            text = self.static_text(classes)
        head = self.head(classes, text)
        feature_BE = normalize(self.features(images).to(head.weight_CE.dtype))
        out = feature_BE @ head.weight_CE.T + head.bias_C
        if head.text_C is None:
            return out
        cosine = super().logits(images, classes, None, text) / self.clip.scale
        return head.text_C.to(cosine.dtype) * cosine + out.to(cosine.dtype)

    def places(self, classes: Classes) -> Tensor:
        """Return the row ``(C,)`` of every class among the trained ones; -1 for a new class."""
        place = {name: i for i, name in enumerate(self.options.trained_classes)}
        found = torch.tensor([place.get(name, -1) for name in classes.names])
        return found.to(self.clip.device)


def rows_of(values: Tensor, places_C: Tensor, new: float = 0.0) -> Tensor:
    """Return ``values`` ``(K, ...)`` at ``places_C``; ``new`` for classes that have no row."""
    return functional.pad(values, (0, 0) * (values.ndim - 1) + (0, 1), value=new)[places_C]
