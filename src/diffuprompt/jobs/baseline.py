"""What a run has to beat: its backbone with a sentence for a prompt, on the same test images."""

from __future__ import annotations

from pathlib import Path

import torch

from diffuprompt.engine import NULL, Progress
from diffuprompt.jobs.prepared import image_set, prepare
from diffuprompt.jobs.run_folder import read_run
from diffuprompt.learners import UNTRAINED, build_learner

BATCH = 256


@torch.inference_mode()
def zero_shot_hits(run: Path, progress: Progress = NULL) -> tuple[bool, ...]:
    """Return for each of a run's test images whether zero-shot names it rightly.

    The features are the run's own and cached, so this takes no longer than loading the backbone.

    Raises:
        DataError, CheckpointError: the run, its data or its backbone cannot be read.
    """
    stored = read_run(run)
    prepared = prepare(stored.job, progress, stored=stored.resolved)
    bench = prepared.load(progress)
    learner = build_learner(UNTRAINED, bench.clip, {}, plan=bench.plan)
    hits: list[bool] = []
    for selection in prepared.roles.tests.values():
        images = image_set(selection, bench.train.store, {})
        images.warm(learner.needs)
        text = learner.static_text(images.classes)
        for index in torch.arange(len(images)).split(BATCH):
            batch = images.batch(index, needs=learner.needs)
            best = learner.logits(batch, images.classes, text=text).argmax(1)
            hits += (best == images.labels[index.to(best.device)]).tolist()
    return tuple(hits)
