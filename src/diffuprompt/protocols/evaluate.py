"""Score a trained run on its test images, with its controls, and write the record.

Legend: B image, C class, F flat, N test images.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from diffuprompt.engine.device import environment, peak_memory_mib
from diffuprompt.engine.files import write_text
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.errors import DataError
from diffuprompt.generators.controls import Control, control_prompts
from diffuprompt.generators.overfit import overfit
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.learners.base import Learner
from diffuprompt.protocols.job import command
from diffuprompt.protocols.metrics import score
from diffuprompt.protocols.run_folder import RunFolder, read_run
from diffuprompt.protocols.train import overfit_train
from diffuprompt.protocols.workbench import (
    ImageSet,
    Subset,
    Workbench,
    learner_logits,
    own_prompts,
    prepare,
)
from diffuprompt.record import Job, Record, Score

BATCH = 64
log = logging.getLogger(__name__)


def evaluate_run(run: Path, *, controls: bool = True, progress: Progress = NULL) -> Path:
    """Score a trained run and return its ``record.json``; an evaluated run is left alone.

    Args:
        run: a folder that `train_job` returned.
        controls: also score what a gain from generated prompts has to beat.
        progress: shows what is going on.
    """
    folder = RunFolder(Path(run))
    job, resolved = read_run(folder.path)
    if folder.is_finished:
        log.info("%s is evaluated already; delete record.json to do it again", folder.path)
        return folder.record
    if not folder.is_trained:
        raise DataError(
            f"{folder.path}: not trained to the end; give its 'diffuprompt train' command again "
            "to resume it"
        )
    bench = prepare(job, progress)
    folder.open(job, bench.resolved, bench.hashes)
    artifact = load_artifact(folder.artifact, clip=bench.clip, plan=bench.plan)
    learner, generator = artifact.learner, artifact.generator
    start = time.monotonic()
    scores, rate = _own_scores(bench, learner, progress)
    if generator is not None:
        pairs, fitted = overfit_train(bench, learner, folder, progress)
        makers: dict[str, Control] = {"diffusion": generator.sample}
        if controls:
            makers |= control_prompts(generator, pairs, resolved.seed)
        for subset, images in bench.tests.items():
            initial = own_prompts(learner, images)
            for variant, make in makers.items():
                with torch.inference_mode():
                    flat = make(images.features, initial)
                scores.append(_score(learner, images, flat, variant, subset, progress))
            if controls:
                best = overfit(
                    learner_logits(learner, images),
                    initial,
                    images.labels,
                    resolved.overfit,
                    lr=fitted.lr,
                    progress=progress,
                    label=f"overfitting {subset} test images (oracle)",
                )
                scores.append(_score(learner, images, best.prompts, "oracle", subset, progress))
    notes = folder.notes()
    stages = ("learner", "overfit", "diffusion")
    seconds = {stage: notes[stage]["seconds"] for stage in stages if stage in notes}
    seconds["evaluate"] = time.monotonic() - start
    statistics = {
        key: value
        for values in notes.values()
        for key, value in values.items()
        if key.startswith("overfit_")
    }
    memory = max(
        peak_memory_mib(bench.clip.device), notes.get("train", {}).get("peak_memory_mib", 0.0)
    )
    record = Record(
        job=Job(
            dataset=resolved.dataset,
            backbone=resolved.backbone.rstrip("/").split("/")[-1],
            learner=resolved.learner,
            generator=resolved.generator,
            protocol=resolved.protocol,
            shots=resolved.shots,
            seed=resolved.seed,
        ),
        scores=tuple(scores),
        trainable_parameters=_size(learner) + (_size(generator) if generator else 0),
        seconds=seconds,
        statistics={**statistics, "peak_memory_mib": memory, "images_per_second": rate},
        hashes={**bench.hashes, "spec": learner.spec.hash},
        environment=environment(bench.clip.device),
        config=resolved.to_json(),
        command=command(job),
    )
    write_text(folder.record, record.model_dump_json(indent=1) + "\n")
    return folder.record


def _own_scores(
    bench: Workbench, learner: Learner, progress: Progress
) -> tuple[list[Score], float]:
    """Score the learner's own prompts; also return images a second, text tower included.

    Text features that do not depend on the image are computed once.
    """
    scores, count, seconds = [], 0, 0.0
    for subset, images in bench.tests.items():
        _ = images.features  # computed or read before the clock starts
        start = time.monotonic()
        scores.append(_score(learner, images, None, "own", subset, progress))
        count, seconds = count + len(images), seconds + time.monotonic() - start
    return scores, count / max(seconds, 1e-9)


@torch.inference_mode()
def _score(
    learner: Learner,
    images: ImageSet,
    flat_NF: Tensor | None,
    variant: str,
    subset: Subset,
    progress: Progress,
) -> Score:
    """Score given source prompts, or the learner's own, on one set of images."""
    text = learner.static_text(images.classes) if flat_NF is None else None
    rows = []
    with progress.task(f"scoring {variant} ({subset})", total=len(images)) as task:
        for index in torch.arange(len(images), device=images.labels.device).split(BATCH):
            prompts = None if flat_NF is None else learner.spec.unpack(flat_NF[index])
            batch = images.batch(index, needs=learner.needs)
            rows.append(learner.logits(batch, images.classes, prompts, text))
            task.advance(len(index))
    return score(variant, subset, torch.cat(rows), images.labels)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
