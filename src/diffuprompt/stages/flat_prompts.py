"""A learner under given prompts, as generators see it: flat tensors in, logits or a loss out.

Legend: B image of a batch, C class, F flat, M some of the classes, N all images.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.engine.seeds import torch_stream
from diffuprompt.generators.descent import Logits
from diffuprompt.generators.label_space import union
from diffuprompt.generators.types import TaskLoss
from diffuprompt.learners.base import Learner
from diffuprompt.stages.image_set import ImageSet


@torch.no_grad()
def own_prompts(learner: Learner, images: ImageSet, size: int = 1024) -> Tensor:
    """Return the learner's own prompts V0 for every image, ``(N, F)``."""
    rows = [
        learner.spec.pack(learner.prompts(part)).expand(len(part), -1)
        for part in images.features.split(size)
    ]
    return torch.cat(rows).clone()


def learner_logits(learner: Learner, images: ImageSet) -> Logits:
    """Return ``logits(flat (B, F), index (B,))`` over ``images`` in the test view.

    ``(B, C)``, or ``(B, M)`` where it is also given M class indices. The learner must not change
    any more: text features that no generated prompt reaches are computed once.
    """

    @cache
    @torch.no_grad()
    def fixed_text() -> Tensor | None:
        if any(slot.tower == "text" for slot in learner.spec.slots):
            return None
        return learner.static_text(images.classes)

    def logits(flat_BF: Tensor, index_B: Tensor, classes_M: Tensor | None = None, /) -> Tensor:
        prompts, text, classes = learner.spec.unpack(flat_BF), fixed_text(), images.classes
        if classes_M is not None:
            classes = classes.select(classes_M.tolist())
            text = None if text is None else text[:, classes_M]
        batch = images.batch(index_B, needs=learner.needs)
        return learner.logits(batch, classes, prompts, text)

    return logits


def task_loss(learner: Learner, images: ImageSet, *, num_classes: int, seed: int) -> TaskLoss:
    """Return ``loss(flat (B, F), index (B,))``: the mean cross-entropy that generators train on.

    With ``num_classes`` above 0 it is taken over the classes of the batch and random others up to
    that number. They are drawn from (seed, images of the batch), so from other classes whenever
    the training order brings other images together, and from the same ones when a run resumes.
    """
    logits, labels, count = learner_logits(learner, images), images.labels, len(images.classes)

    def loss(flat_BF: Tensor, index_B: Tensor) -> Tensor:
        target = labels[index_B]
        if not 0 < num_classes < count:
            return functional.cross_entropy(logits(flat_BF, index_B), target)
        stream = torch_stream(seed, "task-loss", *index_B.tolist())
        classes = union(target, count, num_classes, stream)
        scores = logits(flat_BF, index_B, classes)
        return functional.cross_entropy(scores, torch.searchsorted(classes, target))

    return loss
