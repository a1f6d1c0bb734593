"""What the studies share on the command line: their options, and how a matrix of jobs is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffuprompt.cli.parse import Repeated, Switch, bounded
from diffuprompt.errors import ConfigError
from diffuprompt.ranges import JOBS, SEED, SHOTS, THREADS

if TYPE_CHECKING:
    from diffuprompt.matrix import Runnable
    from diffuprompt.studies import Shared

SHOTS_OF_THE_FIELD = 16  # where a study varies them
FAILED = 4  # exit code when a job has no record in the end


@dataclass(frozen=True, kw_only=True)
class MatrixArgs:
    """Options of whatever runs many jobs."""

    jobs: Annotated[int, JOBS, bounded(JOBS)] = 0
    """Jobs at a time, each in a process of its own; 0: as many as cores and --threads allow."""
    threads: Annotated[int, THREADS, bounded(THREADS)] = 1
    """Processor threads of one job."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where runs are kept; a run that is there already is used."""
    results: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("results")
    """Where a copy of each record goes, in a folder of the study."""
    dry_run: Switch[bool] = False
    """List the jobs and what of them is done, and stop."""


@dataclass(frozen=True, kw_only=True)
class DataArgs(MatrixArgs):
    """Options of every study of learners, but for how many pictures they see."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = ""
    """Catalog name (`diffuprompt ls datasets`), a folder per class, a CSV or a split JSON."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "auto"
    """A known backbone (`diffuprompt ls backbones`), a CLIP folder or a hub id; auto: scenes-clip
    for the scenes, the best CLIP at hand for photographs (`diffuprompt doctor` says which)."""
    seeds: Annotated[tuple[int, ...], SEED, bounded(SEED, "N...")] = (1, 2, 3)
    """Each job is run with each of these seeds."""
    set: Annotated[Repeated[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """Change one value of the recipe of every job, as in `diffuprompt train`."""
    setting: Annotated[str, tyro.conf.arg(metavar="TEXT")] = ""
    """Name of what --set or --precision changes: reports show these rows apart, beside the main
    ones."""
    precision: Literal["fp32", "bf16"] | None = None
    """As in `diffuprompt train`: fp32 where it is not given."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True, kw_only=True)
class StudyArgs(DataArgs):
    """Options of a study with one number of pictures per class."""

    shots: Annotated[int, SHOTS, bounded(SHOTS)] = 16
    """Labelled images per class."""


@dataclass(frozen=True, kw_only=True)
class MethodArgs:
    """Which methods a benchmark is about."""

    learners: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Which of `diffuprompt ls learners`; without it all."""
    generators: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ("none",)
    """none, the learner's own prompts, and names of `diffuprompt ls generators`, which without
    --learners are for those that have prompts to generate."""


def shared(args: DataArgs, *, data: str = "") -> Shared:
    """Return what ``args`` says of every job; raises `ConfigError` for what no job can be.

    ``data`` is what a study trains on that chooses it itself.
    """
    from diffuprompt.studies import Shared

    data = data or args.data
    if not data:
        raise ConfigError("--data is required: a name from 'diffuprompt ls datasets', or a path")
    if not args.seeds:
        raise ConfigError("--seeds: expected at least one")
    return Shared(
        data=data,
        data_root=args.data_root,
        backbone=args.backbone,
        shots=args.shots if isinstance(args, StudyArgs) else SHOTS_OF_THE_FIELD,
        overrides=args.set,
        setting=setting_of(args.setting, bool(args.set) or args.precision is not None),
        runs_dir=args.runs_dir,
        precision=args.precision or "fp32",
        device=args.device,
    )


def setting_of(name: str, is_changed: bool) -> str:
    """Return the name of what a study changes; raises `ConfigError` where it changes nothing."""
    if name and not is_changed:
        raise ConfigError(
            f"--setting {name}: nothing is changed that it could name (see --set), so that the "
            "main rows would be renamed"
        )
    return name


def carry_out(planned: Sequence[Runnable], args: MatrixArgs, study: str) -> int:
    """List the jobs or run them; what failed is shown at the end with its log file.

    ``study`` is the folder inside ``--results``.
    """
    from diffuprompt.cli.console import table
    from diffuprompt.engine import cores
    from diffuprompt.matrix import run_matrix

    if args.dry_run:
        rows = [[p.title, "done" if p.is_finished else "to do", p.path] for p in planned]
        print(table(["job", "state", "folder"], rows))
        return 0
    parallel = args.jobs or max(1, cores() // args.threads)
    results = args.results / study
    failures = run_matrix(planned, results=results, parallel=parallel, threads=args.threads)
    for failure in failures:
        print(f"failed: {failure.planned.title}: {failure.error}")
        if failure.log_file is not None:
            print(f"        {failure.log_file}")
    print(f"{len(planned) - len(failures)} of {len(planned)} records: {results}")
    print(f"next: diffuprompt report {args.results} --write RESULTS.md")
    return FAILED if failures else 0
