"""Train one job: learner, then overfitted prompts, then the generator, then the artifact.

Every stage resumes; a finished one is only loaded.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from diffuprompt.engine.device import environment, peak_memory_mib
from diffuprompt.engine.files import read_json, write_json
from diffuprompt.engine.loop import train
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.fitting import fit, quality
from diffuprompt.generators.joint import fit_joint, moved_pairs
from diffuprompt.generators.registry import build_generator
from diffuprompt.hub.artifact import load_artifact, save_artifact
from diffuprompt.jobs.job import JobConfig, Resolved
from diffuprompt.jobs.run_folder import RunFolder
from diffuprompt.jobs.workbench import Workbench, prepare
from diffuprompt.learners.base import Learner
from diffuprompt.stages.flat_prompts import task_loss
from diffuprompt.stages.learner_task import LearnerTask
from diffuprompt.stages.overfitting import joint_base, overfit_train

log = logging.getLogger(__name__)


def train_job(job: JobConfig, progress: Progress = NULL) -> Path:
    """Train a job and return its folder; a finished run is left alone, an interrupted one resumes.

    Raises:
        DataError, ConfigError, CheckpointError: before any training, where something is wrong.
        TrainingError: a loss is not finite.
    """
    bench = prepare(job, progress)
    resolved = bench.resolved
    folder = RunFolder(job.out or job.runs_dir / run_name(resolved))
    if folder.is_open:
        folder.open(job, resolved, bench.hashes)  # another run's folder is refused without waiting
    if _is_done(folder):
        return folder.path
    # All that can be wrong comes before the folder is opened: a job that never started must not
    # keep its corrected successor out.
    learner = bench.build_learner()
    generator = new_generator(bench, learner) if resolved.generator != "none" else None
    bench.read_images()
    with folder.held():
        folder.open(job, resolved, bench.hashes)
        if not _is_done(folder):  # by the process that was waited for
            _train(job, bench, learner, generator, folder, progress)
    return folder.path


def _is_done(folder: RunFolder) -> bool:
    if folder.is_trained:
        log.info("%s is trained already; nothing to do", folder.path)
    return folder.is_trained


def _train(
    job: JobConfig,
    bench: Workbench,
    learner: Learner,
    generator: PromptGenerator | None,
    folder: RunFolder,
    progress: Progress,
) -> None:
    write_json(folder.path / "environment.json", environment(bench.clip.device))
    if not (generator is not None and borrow_learner(bench, learner, folder, job.runs_dir)):
        train_learner(bench, learner, folder, progress)
    learner.requires_grad_(False).eval()
    if generator is not None:
        fit_generator(bench, learner, generator, folder, progress)
    folder.note("train", {"peak_memory_mib": peak_memory_mib(bench.clip.device)})
    save_artifact(
        folder.artifact, learner, bench.train.classes.names, generator, bench.resolved.to_json()
    )


def run_name(resolved: Resolved) -> str:
    """Return a folder name that tells runs apart; a hash stands for everything not spelled out."""
    backbone = resolved.backbone.rstrip("/").split("/")[-1]
    parts = [resolved.dataset, backbone, resolved.method, f"{resolved.shots}shot"]
    return "-".join([*parts, f"seed{resolved.seed}", resolved.hash])


def train_learner(
    bench: Workbench, learner: Learner, folder: RunFolder, progress: Progress
) -> None:
    """Stage 0: the learner by its own recipe."""
    config = bench.resolved.train
    learner.start(bench.train)
    if not config.epochs or not learner.num_trainable():
        return
    task = LearnerTask(learner, bench.train, config, bench.resolved.seed)
    result = train(
        task,
        task.optimiser(),
        epochs=config.epochs,
        steps_per_epoch=task.steps_per_epoch,
        folder=folder.checkpoint / "learner",
        fingerprint=bench.fingerprint,
        progress=progress,
        label=f"training {learner.name}",
    )
    folder.note("learner", result)


def borrow_learner(bench: Workbench, learner: Learner, folder: RunFolder, runs_dir: Path) -> bool:
    """Stage 0 by loading: take the learner of the same run without a generator, if it is there.

    Training is deterministic, so this only saves time; what it took is noted as in that run.
    """
    twin = RunFolder(runs_dir / run_name(replace(bench.resolved, generator="none")))
    if not twin.is_trained:
        return False
    if read_json(twin.path / "run.json").get("hashes") != bench.hashes:
        return False
    loaded = load_artifact(twin.artifact, clip=bench.clip).learner
    learner.load_state_dict(loaded.state_dict())
    log.info("taking the trained learner of %s", twin.path)
    if "learner" in twin.notes():
        folder.note("learner", twin.notes()["learner"])
    return True


def new_generator(bench: Workbench, learner: Learner) -> PromptGenerator:
    """Return the untrained generator of a job."""
    resolved = bench.resolved
    generator = build_generator(
        resolved.generator,
        learner.spec,
        bench.clip.config.embed_dim,
        resolved.generator_config,
        resolved.fit,
        seed=resolved.seed,
    )
    generator.precision = resolved.precision
    return generator.to(bench.clip.device)


def fit_generator(
    bench: Workbench,
    learner: Learner,
    generator: PromptGenerator,
    folder: RunFolder,
    progress: Progress,
) -> None:
    """Stages 1 and 2: overfitted prompts, then the generator of such prompts."""
    resolved, base = bench.resolved, None
    place = "overfit-before" if resolved.fit.mode == "joint" else "overfit"
    pairs, found = overfit_train(bench, learner, folder, progress, place=place)
    if resolved.fit.mode == "joint":
        base = joint_base(bench, learner, found.lr)
    train_generator = fit if base is None else partial(fit_joint, base=base)
    fitted = train_generator(
        generator,
        pairs,
        task_loss(learner, bench.train, num_classes=resolved.fit.classes, seed=resolved.seed),
        folder=folder.checkpoint / generator.name,
        fingerprint=bench.fingerprint,
        progress=progress,
    )
    if told := generator.fit_sampler(pairs.features, progress=progress):
        now = pairs if base is None else moved_pairs(base, pairs)
        fitted |= told | quality(generator, now)  # of the samples that the fitted sampler makes
    folder.note(generator.name, fitted)
