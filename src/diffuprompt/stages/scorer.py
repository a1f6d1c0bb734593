"""Score prompts on a set of images, and time what depends on them.

Legend: B image of a batch, C class, E embedding, F flat, N all images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.engine.files import read_json, write_text
from diffuprompt.engine.progress import Progress
from diffuprompt.learners.base import Learner
from diffuprompt.protocols.roles import Subset
from diffuprompt.record import Score, Variant
from diffuprompt.stages.image_set import ImageSet
from diffuprompt.stages.metrics import pooled, score

BATCH = 64
Maker = Callable[[], Tensor]
"""Makes the source prompts ``(N, F)`` of a set of images."""


class Scorer:
    """Scores prompts on a set of images; what is scored is kept, so an interruption loses little.

    What of an image does not depend on prompts is computed or read before the clock starts; text
    features that do not depend on the image are computed once a set, inside the clock.
    """

    def __init__(self, learner: Learner, dataset: str, folder: Path, progress: Progress) -> None:
        self.learner, self.dataset = learner, dataset
        self.folder, self.progress = folder, progress

    def __call__(
        self, variant: Variant, subset: Subset, images: ImageSet, *prompts: Maker
    ) -> Score:
        """Score what ``prompts`` makes; of several, the mean of their probabilities.

        Without any, score the learner's own prompts.
        """
        path = self.folder / f"{variant.label}-{subset}.json"
        if path.exists():
            return Score.model_validate(read_json(path))
        images.warm(self.learner.needs)
        device = images.labels.device
        generating = classifying = 0.0
        each = []
        for make in prompts or (None,):
            start = _now(device)
            flat = make() if make else None
            middle = _now(device)
            each.append(self._logits(variant, subset, images, flat))
            generating += middle - start
            classifying += _now(device) - middle
        timed = {"classify_ms": 1000 * classifying / len(images)}
        if prompts:
            timed["generate_ms"] = 1000 * generating / len(images)
        measured = score(variant, self.dataset, subset, pooled(each), images.labels)
        result = measured.model_copy(update={"timings": timed})
        write_text(path, result.model_dump_json() + "\n")
        return result

    @torch.inference_mode()
    def _logits(
        self, variant: Variant, subset: Subset, images: ImageSet, flat_NF: Tensor | None
    ) -> Tensor:
        learner, rows = self.learner, []
        text = learner.static_text(images.classes) if flat_NF is None else None
        with self.progress.task(f"scoring {variant.label} ({subset})", total=len(images)) as task:
            for index in torch.arange(len(images), device=images.labels.device).split(BATCH):
                prompts = None if flat_NF is None else learner.spec.unpack(flat_NF[index])
                batch = images.batch(index, needs=learner.needs)
                rows.append(learner.logits(batch, images.classes, prompts, text))
                task.advance(len(index))
        return torch.cat(rows)


@torch.inference_mode()
def in_batches(
    make: Callable[..., Tensor], features_NE: Tensor, initial_NF: Tensor, **options: int | str
) -> Tensor:
    """Return ``make(features, initial, **options)`` over all rows, with the memory of one batch."""
    pairs = zip(features_NE.split(BATCH), initial_NF.split(BATCH), strict=True)
    return torch.cat([make(features, initial, **options) for features, initial in pairs])


def _now(device: torch.device) -> float:
    """Return the clock after what the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
