"""The stage "overfit": V*, every training image's own best prompts.

Legend: C class, F flat, M listed class, N all images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from diffuprompt.clip import SINGLE
from diffuprompt.engine import peak_memory_mib, write_json
from diffuprompt.generators import (
    Confusion,
    OverfitConfig,
    Problem,
    PromptPairs,
    measure,
    overfit,
    overfit_statistics,
)
from diffuprompt.learners import Learner
from diffuprompt.runs import Stage, StageFolder, Store, Values
from diffuprompt.stages.bench import Bench
from diffuprompt.stages.flat_prompts import learner_logits, own_prompts
from diffuprompt.stages.image_set import ImageSet
from diffuprompt.stages.memory import fitting_batch

VERSION = 1
TENSORS, SPECTRUM = "targets.safetensors", "spectrum.json"
ROWS = 256  # test images whose zero-shot probabilities are computed at once


def overfit_stage(*, overfit: Mapping[str, Any], precision: str, learner: str) -> Stage:
    """Return the stage of V*.

    Args:
        overfit: the fields of `OverfitConfig`.
        precision: of towers with prompts.
        learner: key of the stage that trained the learner; images and backbone are part of it.
    """
    config = {"overfit": dict(overfit), "precision": precision}
    return Stage(name="overfit", version=VERSION, config=config, inputs={"learner": learner})


@dataclass(frozen=True, eq=False)
class Targets:
    """V* of the training images, as the stage made them."""

    folder: StageFolder
    images: ImageSet
    learner: Learner

    @cached_property
    def pairs(self) -> PromptPairs:
        """Features, the learner's own prompts, and V*."""
        target = self.folder.read(TENSORS)["prompts"].to(self.learner.clip.device)
        return PromptPairs(self.images.features, own_prompts(self.learner, self.images), target)

    @property
    def lr(self) -> float:
        """The step size that was used."""
        return self.folder.values()["overfit_lr"]


def targets(bench: Bench, store: Store, stage: Stage, learner: Learner) -> Targets:
    """Return V* of every training image in its test view; found here where nobody has yet."""

    def make(folder: StageFolder) -> Values:
        return _overfit(bench, stage, learner, folder)

    return Targets(store.made(stage, make), bench.train, learner)


def _overfit(bench: Bench, stage: Stage, learner: Learner, folder: StageFolder) -> Values:
    config = OverfitConfig(**stage.config["overfit"])
    problem, config = problem_of(config, learner, bench.train)
    result = overfit(
        problem,
        config,
        folder=folder.work,
        key=stage.key,
        save_every_s=bench.save_every_s,
        progress=bench.progress,
    )
    folder.write(TENSORS, {"prompts": result.prompts, "ce": result.ce})
    spectrum = measure(problem.initial, result.prompts)
    write_json(folder.path / SPECTRUM, spectrum.to_json())
    return {
        **overfit_statistics(problem, result),
        **spectrum.statistics(),
        "peak_memory_mib": peak_memory_mib(bench.clip.device),
    }


def problem_of(
    config: OverfitConfig, learner: Learner, images: ImageSet
) -> tuple[Problem, OverfitConfig]:
    """Return what is overfitted, and the settings with a batch that fits the memory budget."""
    problem = Problem(
        logits=learner_logits(learner, images),
        initial=own_prompts(learner, images),
        labels=images.labels,
        lists=class_lists(config, learner, images),
    )
    return problem, with_batch(config, learner, images, problem.lists)


def with_batch(
    config: OverfitConfig, learner: Learner, images: ImageSet, lists_CM: Tensor | None
) -> OverfitConfig:
    """Return the settings with a number of images at once that fits the memory budget."""
    if config.batch:
        return config
    return replace(config, batch=fitting_batch(learner, images.classes, lists_CM))


def class_lists(config: OverfitConfig, learner: Learner, images: ImageSet) -> Tensor | None:
    """Return ``(C, M)``: by label, the classes that enter the loss of its images; None: all."""
    count = len(images.classes)
    if not 0 < config.negatives < count - 1:
        return None
    confusion = Confusion(count)
    for index, probabilities_BC in zero_shot(learner, images):
        confusion.add(probabilities_BC, images.labels[index].cpu())
    return confusion.hardest(config.negatives).to(images.labels.device)


@torch.no_grad()
def zero_shot(learner: Learner, images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield positions ``(B,)`` and zero-shot CLIP's probabilities ``(B, C)``, on the CPU.

    They do not depend on what the learner has learned.
    """
    clip = learner.clip
    text = clip.text(images.classes.sentences(clip, SINGLE), None, learner.plan)
    for index in torch.arange(len(images)).split(ROWS):
        yield index, clip.logits(images.rows(index), text).softmax(dim=1).cpu()
