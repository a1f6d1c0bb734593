"""Train one job: its stages one after the other, then the artifact.

A stage that anybody has finished is only loaded, and an interrupted one goes on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.engine import NULL, Progress, environment, write_json
from diffuprompt.generators import PromptGenerator, PromptPairs, build_generator
from diffuprompt.hub import save_artifact
from diffuprompt.jobs.chain import Chain
from diffuprompt.jobs.job import NO_GENERATOR, JobConfig, Resolved
from diffuprompt.jobs.prepared import Prepared, prepare
from diffuprompt.jobs.run_folder import Run, RunFolder
from diffuprompt.learners import Learner
from diffuprompt.runs import StageFolder, Store
from diffuprompt.stages import (
    Bench,
    Targets,
    joint_base,
    ready_sampler,
    targets,
    train_generator,
    trained,
    untrained,
)

log = logging.getLogger(__name__)


def train_job(job: JobConfig, progress: Progress = NULL, *, save_every_s: float = 30.0) -> Path:
    """Train a job and return its folder; see `train_or_find`."""
    return train_or_find(job, progress, save_every_s=save_every_s)[0]


def train_or_find(
    job: JobConfig, progress: Progress = NULL, *, save_every_s: float = 30.0
) -> tuple[Path, bool]:
    """Train a job; return its folder, and whether this call came to the end of training.

    A finished run is left alone, an interrupted one resumes. ``save_every_s`` are the seconds of
    work that a kill may cost.

    Raises:
        DataError, ConfigError, CheckpointError: before any training, where something is wrong.
        TrainingError: a loss is not finite.
    """
    prepared = prepare(job, progress)
    folder = folder_of(prepared)
    run = run_of(prepared)
    if folder.is_open:
        folder.check_same(run)  # another run's folder is refused without waiting
    if _is_done(folder):
        return folder.path, False
    bench = prepared.load(progress, save_every_s=save_every_s)
    # All that can be wrong comes before the folder is opened: a job that never started must not
    # keep its corrected successor out.
    learner = untrained(bench, prepared.chain.learner)
    generator = new_generator(prepared.resolved, bench, learner)
    prepared.read_images(bench)
    with folder.held():
        folder.open(run)
        is_new = not _is_done(folder)  # by the process that was waited for
        if is_new:
            _train(prepared, bench, generator, folder)
    return folder.path, is_new


def run_of(prepared: Prepared) -> Run:
    """Return what ``run.json`` says of a job."""
    return Run(
        job=prepared.job,
        resolved=prepared.resolved,
        inputs=prepared.inputs,
        keys=prepared.chain.keys,
        old_inputs=prepared.hashes,
    )


def folder_of(prepared: Prepared) -> RunFolder:
    """Return the folder of a job's run, whether or not it exists."""
    job = prepared.job
    return RunFolder(job.out or job.runs_dir / prepared.run_name)


def new_generator(resolved: Resolved, bench: Bench, learner: Learner) -> PromptGenerator | None:
    """Return the untrained generator of a job, None without one."""
    if resolved.generator == NO_GENERATOR:
        return None
    generator = build_generator(
        resolved.generator,
        learner.spec,
        bench.clip.config.embed_dim,
        resolved.generator_config,
        resolved.fit,
        seed=resolved.seed,
        scope=resolved.dataset,
    )
    generator.precision = resolved.precision
    return generator.to(bench.clip.device)


def _is_done(folder: RunFolder) -> bool:
    if folder.is_trained:
        log.info("%s is trained already; nothing to do", folder.path)
    return folder.is_trained


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """What the stages of a job made, and where they keep it, by name."""

    learner: Learner
    generator: PromptGenerator | None
    folders: dict[str, StageFolder]


def train_stages(prepared: Prepared, bench: Bench, store: Store) -> Trained:
    """Make the stages of a job one after the other, and nothing else: no run, no artifact."""
    learner = untrained(bench, prepared.chain.learner)
    return _made(prepared, bench, new_generator(prepared.resolved, bench, learner), store)


def _made(
    prepared: Prepared, bench: Bench, generator: PromptGenerator | None, store: Store
) -> Trained:
    chain = prepared.chain
    learner = trained(bench, store, chain.learner)
    folders = {chain.learner.name: store.folder(chain.learner)}
    if generator is not None:
        folders |= _train_generator(chain, bench, learner, generator, store)
    return Trained(learner=learner, generator=generator, folders=folders)


def _train(
    prepared: Prepared, bench: Bench, generator: PromptGenerator | None, folder: RunFolder
) -> None:
    write_json(folder.path / "environment.json", environment(bench.clip.device))
    made = _made(prepared, bench, generator, folder.store)
    folder.write_stages(made.folders)
    save_artifact(
        folder.artifact,
        made.learner,
        bench.train.classes.names,
        generator,
        prepared.resolved.to_json(),
    )


def _train_generator(
    chain: Chain,
    bench: Bench,
    learner: Learner,
    generator: PromptGenerator,
    store: Store,
) -> dict[str, StageFolder]:
    """V*, the generator (with the learner, where both are trained together), and its sampler."""
    assert chain.overfit is not None
    assert chain.generator is not None
    assert chain.sampler is not None
    found = targets(bench, store, chain.overfit, learner)
    made = train_generator(bench, store, chain.generator, learner, generator, found)

    def pairs() -> PromptPairs:
        return quality_pairs(chain, bench, learner, found)

    features = bench.train.features
    ready = ready_sampler(bench, store, chain.sampler, generator, features, pairs)
    every = (found.folder, made, ready)
    return {each.stage.name: each for each in every}


def quality_pairs(chain: Chain, bench: Bench, learner: Learner, found: Targets) -> PromptPairs:
    """Return training images with V* of the learner as it is scored; after joint training some."""
    assert chain.generator is not None
    if "overfit" not in chain.generator.config:
        return found.pairs
    base = joint_base(bench, learner, chain.generator.config["overfit"], found.lr)
    return base.pairs(bench.train.features)
