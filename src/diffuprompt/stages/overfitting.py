"""Stage 1 of a job: overfitted prompts of its images, what they were told apart from, and a note.

Legend: C class, F flat, M listed class, N all images.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.clip.templates import SINGLE
from diffuprompt.engine.files import read_json, write_json
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.descent import Problem
from diffuprompt.generators.joint import Base
from diffuprompt.generators.label_space import hardest
from diffuprompt.generators.overfit import Overfitted, overfit
from diffuprompt.generators.overfit_report import overfit_statistics
from diffuprompt.generators.shards import holds
from diffuprompt.generators.spectrum import measure
from diffuprompt.generators.types import PromptPairs
from diffuprompt.hub.artifact import tensors_hash
from diffuprompt.jobs.run_folder import RunFolder
from diffuprompt.jobs.workbench import Workbench
from diffuprompt.learners.base import Learner
from diffuprompt.stages.flat_prompts import learner_logits, own_prompts
from diffuprompt.stages.image_set import ImageSet
from diffuprompt.stages.memory import fitting_batch

SPECTRUM = "spectrum.json"
log = logging.getLogger(__name__)


def overfit_train(
    bench: Workbench,
    learner: Learner,
    folder: RunFolder,
    progress: Progress,
    *,
    place: str = "overfit",
) -> tuple[PromptPairs, Overfitted]:
    """Return V* of every training image in its test view, kept in the run and noted once.

    Another run beside it that has them already, for another generator of the same learner, lends
    its own. ``place`` is the checkpoint's folder; joint training has one before and one after it.
    """
    start = time.monotonic()
    key = overfit_key(bench, learner)
    borrow_overfitted(folder, place, key)
    problem, result = overfit_images(
        bench,
        learner,
        bench.train,
        folder=folder.checkpoint / place,
        key=key,
        progress=progress,
    )
    if "overfit" not in folder.notes():
        seconds = time.monotonic() - start
        spectrum = measure(problem.initial, result.prompts)
        write_json(folder.path / SPECTRUM, spectrum.to_json())
        noted = {**overfit_statistics(problem, result), **spectrum.statistics()}
        folder.note("overfit", {**noted, "seconds": seconds})
    return PromptPairs(bench.train.features, problem.initial, result.prompts), result


def overfit_key(bench: Workbench, learner: Learner) -> str:
    """Name all that V* of the training images depends on; no generator is among it."""
    resolved = bench.resolved
    asked = [resolved.protocol, resolved.precision, resolved.seed, asdict(resolved.overfit)]
    text = json.dumps([asked, resolved.learner, dict(resolved.options), bench.hashes])
    short = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{short}-{tensors_hash(learner.state_dict())}"


def borrow_overfitted(folder: RunFolder, place: str, key: str) -> None:
    """Copy V* of a run in the same folder of runs, where one has finished them under ``key``.

    Overfitting is deterministic, so this only saves time; what it took is noted as in that run.
    """
    target = folder.checkpoint / place
    if target.exists():
        return
    for other in sorted(folder.path.parent.glob("*/checkpoint/overfit")):
        lender = RunFolder(other.parent.parent)
        if "overfit" not in lender.notes() or not holds(other, key):
            continue
        part = target.with_name(f".{place}.part")
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed while it copied
        shutil.copytree(other, part)
        part.replace(target)
        write_json(folder.path / SPECTRUM, read_json(lender.path / SPECTRUM))
        folder.note("overfit", lender.notes()["overfit"])
        log.info("taking the overfitted prompts of %s", lender.path)
        return


def overfit_images(
    bench: Workbench,
    learner: Learner,
    images: ImageSet,
    *,
    folder: Path,
    key: str,
    lr: float | None = None,
    progress: Progress = NULL,
    label: str = "overfitting",
) -> tuple[Problem, Overfitted]:
    """Overfit prompts for ``images`` as the job says; the other arguments are `overfit`'s."""
    problem, config = problem_of(bench, learner, images)
    return problem, overfit(
        problem, config, lr=lr, folder=folder, key=key, progress=progress, label=label
    )


def problem_of(
    bench: Workbench, learner: Learner, images: ImageSet
) -> tuple[Problem, OverfitConfig]:
    """Return what is overfitted, and the job's settings with a batch that fits its memory."""
    config = bench.resolved.overfit
    problem = Problem(
        logits=learner_logits(learner, images),
        initial=own_prompts(learner, images),
        labels=images.labels,
        lists=class_lists(config, learner, images),
    )
    if not config.batch:
        config = replace(config, batch=fitting_batch(learner, images.classes, problem.lists))
    return problem, config


def joint_base(bench: Workbench, learner: Learner, lr: float) -> Base:
    """Return the learner as joint training sees it; ``lr`` is what overfitting it before took."""
    images = bench.train
    problem, config = problem_of(bench, learner, images)

    def own(index_B: Tensor) -> Tensor:
        prompts = learner.prompts(images.features[index_B])
        return learner.spec.pack(prompts).expand(len(index_B), -1)

    return Base(module=learner, own=own, problem=problem, overfit=config, lr=lr)


def class_lists(config: OverfitConfig, learner: Learner, images: ImageSet) -> Tensor | None:
    """Return ``(C, M)``: the classes that images of each label are told apart from; None: all."""
    count = len(images.classes)
    if not 0 < config.negatives < count - 1:
        return None
    lists = hardest(zero_shot(learner, images), images.labels, config.negatives)
    return lists.to(images.labels.device)


@torch.no_grad()
def zero_shot(learner: Learner, images: ImageSet) -> Tensor:
    """Return zero-shot CLIP's probabilities ``(N, C)``, whatever the learner has learned."""
    clip = learner.clip
    text = clip.text(images.classes.sentences(clip, SINGLE), None, learner.plan)
    return clip.logits(images.features, text).softmax(dim=1)
