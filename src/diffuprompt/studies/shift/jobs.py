"""Which jobs the study under shift is made of; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffuprompt.data import open_dataset, write_shifted
from diffuprompt.engine import NULL, Progress
from diffuprompt.jobs import NO_GENERATOR, Evaluation
from diffuprompt.matrix import MatrixJob
from diffuprompt.studies.plug_in.design import DIFFUSION
from diffuprompt.studies.shared import Asked, Shared, make_jobs
from diffuprompt.studies.shift.design import PROTOCOL, SEVERITIES, World


def shift_jobs(
    shared: Shared,
    world: World,
    *,
    learners: Sequence[str],
    seeds: Sequence[int],
    made: Path,
    severities: Sequence[int] = SEVERITIES,
    only_written: bool = False,
) -> tuple[MatrixJob, ...]:
    """Return every learner without and with diffusion, scored on its source and all targets.

    Args:
        shared: what all jobs have in common, but for the data.
        world: source and targets.
        learners: names.
        seeds: of the jobs.
        made: where `write_targets` writes.
        severities: of targets that are made.
        only_written: leave out targets that `write_targets` has yet to write, to list jobs.

    Raises:
        ConfigError: naming every job that cannot be.
    """
    paths = target_paths(world, made, severities)
    unwritten = unwritten_targets(world, made, severities) if only_written else ()
    tests = (*(str(path) for path in paths if path not in unwritten), *world.controls)
    scored = Evaluation(controls="basic")
    asked: list[Asked] = []
    for seed in seeds:
        for generator in (NO_GENERATOR, DIFFUSION):
            asked += [Asked(learner, seed, generator, scored) for learner in learners]
    common = replace(shared, data=world.source, protocol=PROTOCOL, test_data=tests)
    return make_jobs(common, asked)


def target_paths(
    world: World, made: Path, severities: Sequence[int] = SEVERITIES
) -> tuple[str | Path, ...]:
    """Return the targets of a world as `open_dataset` takes them."""
    if not world.made:
        return world.targets
    folder = made.resolve() / world.source
    return tuple(folder / f"{kind}-{s}" for kind in world.targets for s in severities)


def unwritten_targets(
    world: World, made: Path, severities: Sequence[int] = SEVERITIES
) -> tuple[Path, ...]:
    """Return the targets that `write_targets` has yet to write."""
    paths = target_paths(world, made, severities)
    return tuple(path for path in paths if isinstance(path, Path) and not path.exists())


def write_targets(
    world: World,
    made: Path,
    *,
    severities: Sequence[int] = SEVERITIES,
    data_root: Path | None = None,
    progress: Progress = NULL,
) -> None:
    """Write the targets of a world that are made; what is there is left alone.

    Raises `DataError` as `open_dataset` and `write_shifted` do.
    """
    if not world.made:
        return
    manifest = open_dataset(world.source, root=data_root)
    for kind in world.targets:
        for severity in severities:
            folder = made.resolve() / world.source
            write_shifted(manifest, folder, kind=kind, severity=severity, progress=progress)
