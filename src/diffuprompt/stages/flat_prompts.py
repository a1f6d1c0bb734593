"""A learner under given prompts, as generators see it: flat tensors in, logits or a loss out.

Legend: B image of a batch, C class, E embedding, F flat, M some of the classes, N all images.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.data import ImageBatch
from diffuprompt.engine import sent, torch_stream
from diffuprompt.generators import Logits, TaskLoss, union
from diffuprompt.learners import Learner
from diffuprompt.prompts import Prompts, PromptSpec
from diffuprompt.stages.image_set import ImageSet

ROWS = 1024  # images whose own prompts are computed at once


class Prompted(Protocol):
    """What has prompts of its own: a learner, or what stands in its place."""

    @property
    def spec(self) -> PromptSpec:
        """What may be generated."""

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return its own source prompts."""


@torch.no_grad()
def own_prompts(learner: Learner, images: ImageSet) -> Tensor:
    """Return the learner's own prompts V0 of every image, ``(N, F)``.

    Where they do not depend on the image, all rows are one in memory.
    """
    if not learner.own_prompts_need_image:
        return own_of(learner, images.features[:1]).expand(len(images), -1)
    return torch.cat([own_of(learner, part) for part in images.features.split(ROWS)])


@torch.no_grad()
def own_of(learner: Prompted, features_BE: Tensor) -> Tensor:
    """Return the learner's own prompts V0 ``(B, F)`` of images with these features."""
    prompts = learner.spec.pack(learner.prompts(features_BE))
    return prompts.expand(len(features_BE), -1)


def learner_logits(learner: Learner, images: ImageSet) -> Logits:
    """Return ``logits(flat (B, F), index (B,))`` over ``images`` in the test view.

    ``(B, C)``, or ``(B, M)`` where it is also given M class indices. Text features that no
    generated prompt reaches are computed once, unless they have learnables of their own that are
    being trained.
    """
    kept: list[Tensor] = []
    last: list[tuple[Tensor, ImageBatch]] = []

    def batch_of(index_B: Tensor) -> ImageBatch:
        """Several steps on one batch read its images once."""
        if not last or last[0][0] is not index_B:
            last[:] = [(index_B, images.batch(index_B, needs=learner.needs))]
        return last[0][1]

    def fixed_text() -> Tensor | None:
        if any(slot.tower == "text" for slot in learner.spec.slots):
            return None
        if kept:
            return kept[0]
        with torch.set_grad_enabled(bool(learner.num_trainable())):
            text = learner.static_text(images.classes)
        if text is not None and not text.requires_grad:  # else it moves, as in joint training
            kept.append(text)
        return text

    def logits(flat_BF: Tensor, index_B: Tensor, classes_M: Tensor | None = None, /) -> Tensor:
        prompts, text, classes = learner.spec.unpack(flat_BF), fixed_text(), images.classes
        if classes_M is not None:
            classes = classes.select(classes_M.tolist())
            text = None if text is None else text[:, sent(classes_M, text.device)]
        return learner.logits(batch_of(index_B), classes, prompts, text)

    return logits


def task_loss(learner: Learner, images: ImageSet, *, num_classes: int, seed: int) -> TaskLoss:
    """Return ``loss(flat (B, F), index (B,))``: the mean cross-entropy that generators train on.

    With ``num_classes`` above 0 it is taken over the classes of the batch and random others up to
    that number. They are drawn from (seed, images of the batch), so from other classes whenever
    the training order brings other images together, and from the same ones when a run resumes.
    """
    logits, count = learner_logits(learner, images), len(images.classes)
    labels = images.labels.cpu()  # what decides sizes stays on the host, where nobody waits

    def loss(flat_BF: Tensor, index_B: Tensor) -> Tensor:
        target = labels[index_B.cpu()]
        if not 0 < num_classes < count:
            scores = logits(flat_BF, index_B)
        else:
            stream = torch_stream(seed, "task-loss", *index_B.tolist())
            classes = union(target, count, num_classes, stream)
            scores = logits(flat_BF, index_B, classes)
            target = torch.searchsorted(classes, target)
        return functional.cross_entropy(scores, sent(target, scores.device))

    return loss
