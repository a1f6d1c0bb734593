"""Score a trained run on its test images, with its controls, and write the record.

Legend: B image, C class, F flat, N test images.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from diffuprompt.engine.device import environment, peak_memory_mib
from diffuprompt.engine.files import read_json, write_text
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.errors import DataError
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.controls import Control, control_prompts
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.learners.base import Learner
from diffuprompt.protocols.image_set import ImageSet
from diffuprompt.protocols.job import JobConfig, command
from diffuprompt.protocols.metrics import score
from diffuprompt.protocols.overfitting import overfit_images, overfit_train
from diffuprompt.protocols.parts import Subset
from diffuprompt.protocols.prompted import conditions, own_prompts
from diffuprompt.protocols.run_folder import RunFolder, read_run
from diffuprompt.protocols.workbench import Workbench, prepare
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
    job, _ = read_run(folder.path)
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
    kept = folder.checkpoint / "scores" / artifact.description.tensors_hash
    scorer = _Scorer(learner, kept, progress)
    start = time.monotonic()
    scores = [scorer("own", subset, images, None) for subset, images in bench.tests.items()]
    folder.note("scoring", {"images_per_second": scorer.rate})
    if generator is not None:
        scores += _generated(bench, learner, generator, folder, scorer, controls)
    record = _record(bench, job, folder, learner, generator, scores, time.monotonic() - start)
    write_text(folder.record, record.model_dump_json(indent=1) + "\n")
    return folder.record


def _generated(
    bench: Workbench,
    learner: Learner,
    generator: PromptGenerator,
    folder: RunFolder,
    scorer: _Scorer,
    controls: bool,
) -> list[Score]:
    """Score generated prompts and, if asked, everything that they have to beat."""
    pairs, fitted = overfit_train(bench, learner, folder, scorer.progress)
    makers: dict[str, Control] = {generator.name: generator.sample}
    if controls:
        makers |= control_prompts(generator, pairs, bench.resolved.seed)
    scores = []
    for subset, images in bench.tests.items():
        features = conditions(learner, generator, images)
        initial = own_prompts(learner, images)
        for variant, make in makers.items():
            prompts = partial(_sampled, make, features, initial)
            scores.append(scorer(variant, subset, images, prompts))
        if controls:
            best = partial(_oracle, bench, learner, subset, fitted.lr, scorer)
            scores.append(scorer("oracle", subset, images, best))
    return scores


def _oracle(
    bench: Workbench, learner: Learner, subset: Subset, lr: float, scorer: _Scorer
) -> Tensor:
    """V* of test images, found with their labels: an upper bound, resumable as in training."""
    _, best = overfit_images(
        bench,
        learner,
        bench.tests[subset],
        lr=lr,
        folder=scorer.folder / f"oracle-{subset}",
        key=bench.fingerprint,
        progress=scorer.progress,
        label=f"overfitting {subset} test images (oracle)",
    )
    return best.prompts


@torch.inference_mode()
def _sampled(make: Control, features_NE: Tensor, initial_NF: Tensor) -> Tensor:
    return make(features_NE, initial_NF)


def _record(
    bench: Workbench,
    job: JobConfig,
    folder: RunFolder,
    learner: Learner,
    generator: PromptGenerator | None,
    scores: list[Score],
    seconds: float,
) -> Record:
    """Gather what the stages have measured."""
    resolved, notes, device = bench.resolved, folder.notes(), bench.clip.device
    spent: dict[str, float] = {}
    stages = [s for s in ("learner", "overfit", resolved.generator) if s in notes]
    spent |= {stage: notes[stage]["seconds"] for stage in stages}
    kept = ("overfit_", "normaliser_", "generated_")
    measured = {k: v for s in stages for k, v in notes[s].items() if k.startswith(kept)}
    memory = max(peak_memory_mib(device), notes.get("train", {}).get("peak_memory_mib", 0.0))
    return Record(
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
        seconds={**spent, "evaluate": seconds},
        statistics={**measured, **notes["scoring"], "peak_memory_mib": memory},
        hashes={**bench.hashes, "spec": learner.spec.hash},
        environment=environment(device),
        config=resolved.to_json(),
        command=command(job),
    )


class _Scorer:
    """Scores prompts on a set of images; what is scored is kept, so an interruption loses little.

    What of an image does not depend on prompts is computed or read before the clock of ``rate``
    starts; text features that do not depend on the image are computed once a set.
    """

    def __init__(self, learner: Learner, folder: Path, progress: Progress) -> None:
        self.learner, self.folder, self.progress = learner, folder, progress
        self._count, self._seconds = 0, 0.0

    @property
    def rate(self) -> float:
        """Images a second so far, without what of an image does not depend on prompts."""
        return self._count / max(self._seconds, 1e-9)

    def __call__(
        self, variant: str, subset: Subset, images: ImageSet, prompts: Callable[[], Tensor] | None
    ) -> Score:
        """Score the source prompts ``(N, F)`` that ``prompts`` makes, or the learner's own."""
        path = self.folder / f"{variant}-{subset}.json"
        if path.exists():
            return Score.model_validate(read_json(path))
        flat = prompts() if prompts else None
        images.warm(self.learner.needs)
        start = time.monotonic()
        logits = self._logits(variant, subset, images, flat)
        self._seconds += time.monotonic() - start
        self._count += len(images)
        result = score(variant, subset, logits, images.labels)
        write_text(path, result.model_dump_json() + "\n")
        return result

    @torch.inference_mode()
    def _logits(
        self, variant: str, subset: Subset, images: ImageSet, flat_NF: Tensor | None
    ) -> Tensor:
        learner, rows = self.learner, []
        text = learner.static_text(images.classes) if flat_NF is None else None
        with self.progress.task(f"scoring {variant} ({subset})", total=len(images)) as task:
            for index in torch.arange(len(images), device=images.labels.device).split(BATCH):
                prompts = None if flat_NF is None else learner.spec.unpack(flat_NF[index])
                batch = images.batch(index, needs=learner.needs)
                rows.append(learner.logits(batch, images.classes, prompts, text))
                task.advance(len(index))
        return torch.cat(rows)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
