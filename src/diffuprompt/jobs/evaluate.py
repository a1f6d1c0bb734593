"""Score a trained run on its test images, with its controls, and write the record.

Legend: B image, C class, F flat, N test images.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from diffuprompt.engine.device import environment, peak_memory_mib
from diffuprompt.engine.files import write_text
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.errors import DataError
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.controls import Control, control_prompts
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig, command
from diffuprompt.jobs.run_folder import RunFolder, read_run
from diffuprompt.jobs.workbench import Workbench, prepare
from diffuprompt.learners.base import Learner
from diffuprompt.protocols.roles import Subset
from diffuprompt.record import Job, Record, Score, Variant, read_record
from diffuprompt.stages.flat_prompts import own_prompts
from diffuprompt.stages.overfitting import overfit_images, overfit_train
from diffuprompt.stages.scorer import Scorer, in_batches

log = logging.getLogger(__name__)


def evaluate_run(
    run: Path, *, evaluation: Evaluation | None = None, progress: Progress = NULL
) -> Path:
    """Score a trained run and return its ``record.json``.

    A run whose record holds all that is asked is left alone; what is missing is added.

    Args:
        run: a folder that `train_job` returned.
        evaluation: what to score of generated prompts; None for everything but sweeps.
        progress: shows what is going on.
    """
    evaluation = evaluation or Evaluation()
    folder = RunFolder(Path(run))
    job, _ = read_run(folder.path)
    if not _is_evaluated(folder, evaluation):  # which is said of others' runs too, unlocked
        with folder.held():
            if not _is_evaluated(folder, evaluation):
                _evaluate(folder, job, evaluation, progress)
                return folder.record
    log.info("%s is evaluated already; delete record.json to do it again", folder.path)
    return folder.record


def _is_evaluated(folder: RunFolder, evaluation: Evaluation) -> bool:
    return folder.is_finished and evaluation.is_in(read_record(folder.record))


def _evaluate(
    folder: RunFolder, job: JobConfig, evaluation: Evaluation, progress: Progress
) -> None:
    before = read_record(folder.record) if folder.is_finished else None
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
    scorer = Scorer(learner, bench.resolved.dataset, kept, progress)
    start = time.monotonic()
    scores = [scorer(Variant.own(), subset, images) for subset, images in bench.tests.items()]
    if generator is not None:
        scores += _generated(bench, learner, generator, folder, scorer, evaluation)
    seconds = time.monotonic() - start
    if before is not None:
        there = {(s.variant, s.subset) for s in scores}
        scores += [s for s in before.scores if (s.variant, s.subset) not in there]
        seconds += before.seconds["evaluate"]
    record = _record(bench, job, folder, learner, generator, scores, seconds)
    write_text(folder.record, record.model_dump_json(indent=1) + "\n")


def _generated(
    bench: Workbench,
    learner: Learner,
    generator: PromptGenerator,
    folder: RunFolder,
    scorer: Scorer,
    evaluation: Evaluation,
) -> list[Score]:
    """Score generated prompts and, if asked, everything that they have to beat."""
    pairs, fitted = overfit_train(bench, learner, folder, scorer.progress)
    sample = partial(in_batches, generator.sample)
    name = generator.name
    makers: dict[Variant, list[Control]] = {Variant.generated(name): [sample]}
    for n in _steps(bench, evaluation):
        makers[Variant.generated(name, nfe=n)] = [partial(sample, nfe=n)]
    if draws := evaluation.draws(name):
        each = [partial(sample, draw=k) for k in range(draws)]
        makers[Variant.generated(name, draws=draws)] = [*each]
    controls = control_prompts(generator, pairs, bench.resolved.seed)
    for control in evaluation.label_free(name):
        makers[Variant.of_control(control, name)] = [controls[control]]
    scores = []
    for subset, images in bench.tests.items():
        initial = own_prompts(learner, images)
        for variant, several in makers.items():
            prompts = [partial(_sampled, make, images.features, initial) for make in several]
            scores.append(scorer(variant, subset, images, *prompts))
        if evaluation.asks_oracle:
            best = partial(_oracle, bench, learner, subset, fitted.lr, scorer)
            scores.append(scorer(Variant.of_control("oracle", name), subset, images, best))
    return scores


def _steps(bench: Workbench, evaluation: Evaluation) -> tuple[int, ...]:
    """Return the numbers of evaluations to sample with; say which cannot be."""
    generator = bench.resolved.generator
    steps = evaluation.steps(generator, bench.resolved.to_json())
    left_out = [n for n in evaluation.steps(generator) if n not in steps]
    if left_out:
        own = bench.resolved.generator_config.nfe
        log.info("nfe %s left out: AMED was fitted for %d evaluations only", left_out, own)
    return steps


def _oracle(
    bench: Workbench, learner: Learner, subset: Subset, lr: float, scorer: Scorer
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
            setting=job.setting,
        ),
        scores=tuple(scores),
        trainable_parameters=_size(learner) + (_size(generator) if generator else 0),
        seconds={**spent, "evaluate": seconds},
        statistics={**measured, **_speed(scores), "peak_memory_mib": memory},
        hashes={**bench.hashes, "spec": learner.spec.hash},
        environment=environment(device),
        config=resolved.to_json(),
        command=command(job),
    )


def _speed(scores: Sequence[Score]) -> dict[str, float]:
    """Images a second with the learner's own prompts, where this was timed."""
    own = [s for s in scores if s.variant == Variant.own() and s.timings.get("classify_ms")]
    seconds = sum(s.timings["classify_ms"] * s.total for s in own) / 1000
    return {"images_per_second": sum(s.total for s in own) / seconds} if own else {}


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
