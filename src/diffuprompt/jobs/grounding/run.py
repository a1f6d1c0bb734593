"""Train a grounding job, and score it: what is finished is only loaded."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from diffuprompt.engine import NULL, Progress, environment, write_json, write_text
from diffuprompt.errors import DataError
from diffuprompt.grounding import Grounder, method_settings, open_detector, save_grounder
from diffuprompt.jobs.grounding.data import ExpressionSet
from diffuprompt.jobs.grounding.folder import GroundingFolder, GroundingRun, read_grounding_run
from diffuprompt.jobs.grounding.job import GroundingJobConfig
from diffuprompt.jobs.grounding.recipes import find_recipe
from diffuprompt.jobs.grounding.settings import settings_of
from diffuprompt.jobs.grounding.work import TRAIN, GroundingWork
from diffuprompt.record_expressions import ExpressionScores
from diffuprompt.record_grounding import GroundingJob, GroundingRecord, read_grounding_record
from diffuprompt.stages import Found

log = logging.getLogger(__name__)


def grounding_run(job: GroundingJobConfig) -> GroundingRun:
    """Return a job with every value that counts; raises `ConfigError` for what cannot be."""
    settings = settings_of(find_recipe(job.method), job.preset, job.overrides)
    return GroundingRun(job=job, settings=settings)


def resolved_settings(run: GroundingRun) -> dict[str, dict[str, Any]]:
    """Return every value of a run by section and name, its method's own defaults too.

    Raises:
        CheckpointError, ConfigError: its detector, which says what these are, cannot be opened.
    """
    found, method = run.settings.to_json(), find_recipe(run.job.method).method
    if method:
        detector = open_detector(run.job.detector_name)
        found["method"] = asdict(method_settings(method, detector, run.settings.method))
    return found


def grounding_folder(run: GroundingRun) -> GroundingFolder:
    """Return the folder of a run, whether or not it exists."""
    return GroundingFolder(run.job.out or run.job.runs_dir / run.name)


def train_grounding(
    job: GroundingJobConfig, progress: Progress = NULL, *, save_every_s: float = 30.0
) -> Path:
    """Train a job and return its folder; a finished one is left alone, an interrupted one resumes.

    Raises:
        DataError, ConfigError, CheckpointError: before any training, where something is wrong.
        TrainingError: a loss is not finite.
    """
    run = grounding_run(job)
    folder = grounding_folder(run)
    work = GroundingWork(job, run.settings, folder.store, progress, save_every_s)
    if folder.is_trained:
        folder.open(run)
        folder.check_inputs({TRAIN: work.inputs[TRAIN]})
        log.info("%s is trained already; nothing to do", folder.path)
        return folder.path
    work.check()  # before anything is written
    with folder.held():
        folder.open(run)
        if not folder.is_trained:
            write_json(folder.path / "environment.json", environment(work.device))
            _ = work.method
            folder.write_stages(work.stages, work.inputs)
            _save(work, folder.artifact)
    return folder.path


def _save(work: GroundingWork, folder: Path) -> None:
    """Write what a trained job predicts with."""
    recipe, method = work.recipe, work.method
    save_grounder(
        Grounder(
            detector=work.detector,
            clip=work.bench.clip,
            method=method,
            vae=work.vae if recipe.decodes else None,
            generator=work.generator if recipe.generates else None,
            maps=work.maps_config,
            seed=work.job.seed,
            side=work.side,
        ),
        folder,
        detector=work.job.detector_name,
        method=recipe.method,
        settings=work.settings.method,
    )


def evaluate_grounding(
    path: Path,
    *,
    test: tuple[str, ...] = (),
    data_root: Path | None = None,
    device: str = "",
    progress: Progress = NULL,
    save_every_s: float = 30.0,
) -> Path:
    """Score a trained run and return its ``record.json``; what it holds already is left alone.

    Args:
        path: a folder that `train_grounding` returned.
        test: names of test sets; none: the run's own.
        data_root: where pictures are now; None: as for the run.
        device: where to compute; "": as for the run.
        progress: shows what is going on.
        save_every_s: seconds of work that a kill may cost.

    Raises:
        DataError: no run, not trained, or data that cannot be read.
        ConfigError: no such test set.
    """
    folder = GroundingFolder(Path(path))
    run = read_grounding_run(folder.path)
    if not folder.is_trained:
        raise DataError(
            f"{folder.path}: not trained to the end; give its 'diffuprompt ground train' command "
            "again to resume it"
        )
    job = replace(
        run.job,
        test=test or run.job.test,
        data_root=data_root or run.job.data_root,
        device=device or run.job.device,
    )
    work = GroundingWork(job, run.settings, folder.store, progress, save_every_s)
    with folder.held():
        before = read_grounding_record(folder.record) if folder.record.exists() else None
        kept = {one.test: one for one in before.tests} if before else {}
        wanted = [t for t in work.tests if not _is_scored(kept.get(t.name), t)]
        if not wanted:
            log.info("%s is evaluated already", folder.path)
            return folder.record
        folder.check_inputs(work.inputs)
        work.check_stages()
        scores = {t.name: _scores(t, *work.score(t)) for t in wanted}
        record = _record(run, work, {**kept, **scores})
        write_text(folder.record, record.model_dump_json(indent=1) + "\n")
    return folder.record


def _is_scored(found: ExpressionScores | None, test: ExpressionSet) -> bool:
    return found is not None and found.content == test.content


def _scores(test: ExpressionSet, found: Found, generate_ms: float) -> ExpressionScores:
    every = [test.expressions[row] for row in range(len(test.expressions))]
    timings = {"detect_ms": found.detect_ms}
    if generate_ms:
        timings["generate_ms"] = generate_ms
    return ExpressionScores.of(
        test=test.name,
        content=test.content,
        pictures=[one.picture for one in every],
        kinds=[one.kind for one in every],
        ranks=found.ranks,
        giou_ranks=found.giou_ranks,
        mask_ious=found.mask_ious,
        timings=timings,
    )


def _record(
    run: GroundingRun, work: GroundingWork, tests: dict[str, ExpressionScores]
) -> GroundingRecord:
    job, sizes = run.job, work.parameters()
    values = work.values()
    learned = sizes["generator"] or (work.method is not None and work.method.state_dict())
    return GroundingRecord(
        job=GroundingJob(
            dataset=work.source.name,
            detector=work.detector.name,
            detector_hash=work.bench.content,
            method=job.method,
            seed=job.seed,
            expressions=len(work.train.expressions) if learned else 0,
            setting=job.setting,
        ),
        tests=tuple(tests.values()),
        trainable_parameters=sizes["trainable"],
        generator_parameters=sizes["generator"],
        total_parameters=sizes["total"],
        seconds={name: v["seconds"] for name, v in values.items() if "seconds" in v},
        statistics={
            f"{name}_{key}".replace("-", "_"): value
            for name, v in values.items()
            for key, value in v.items()
            if key != "seconds"
        },
        hashes={"train": work.train.content, "detector": work.bench.content},
        environment=environment(work.device),
        config={
            "preset": job.preset,
            "masks_from": job.masks_from,
            **run.settings.counted(work.recipe),
        },
        command=job.command(),
    )
