"""`diffuprompt study shift`: whether generated prompts help where test pictures have changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.parse import bounded
from diffuprompt.cli.study import StudyArgs, carry_out, shared
from diffuprompt.errors import ConfigError
from diffuprompt.ranges import SEVERITY

EXAMPLES = """
diffuprompt study shift --dry-run
diffuprompt study shift --worlds scenes --learners coop cocoop --seeds 1
diffuprompt study shift --worlds corruptions --severities 1 3 5 --backbone photo-clip-lite
diffuprompt study shift --worlds living objects --jobs 2
"""
FOLDER = "shift-study"
SEVERITIES = (3,)  # as `studies.shift.design`, which loads too much for a help page


@dataclass(frozen=True, kw_only=True)
class Args(StudyArgs):
    """Train on one data set without and with diffusion, and test on others.

    Worlds: scenes (clean drawings to sketch, noisy, inverted and painted ones), corruptions
    (Caltech101 to shifted copies of its test pictures, see `diffuprompt data shift`), living and
    objects (each half of Caltech101 to the other one, whose names were never trained, with
    transfer to the scenes as a control). Every run is scored with regression and shuffled controls.
    """

    worlds: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """scenes, corruptions, living, objects; without it all of them."""
    learners: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Which of `diffuprompt ls learners`; without it the six of the study."""
    severities: Annotated[tuple[int, ...], SEVERITY, bounded(SEVERITY, "N...")] = SEVERITIES
    """Of the corruptions."""
    shifted: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("shifted")
    """Where the shifted copies are written, before the first job; those there are used."""


def run(args: Args) -> int:
    """Write the targets, then run the matrix of one world after the other, or list the jobs."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.matrix import plan
    from diffuprompt.studies import (
        LEARNERS,
        find_worlds,
        shift_jobs,
        unwritten_targets,
        write_targets,
    )

    worlds = find_worlds(args.worlds)
    if args.data:
        raise ConfigError("--data: the worlds say what is trained on; choose some with --worlds")
    if not args.severities:
        raise ConfigError("--severities: expected at least one")
    if args.severities != SEVERITIES and not any(world.made for world in worlds):
        raise ConfigError(
            "--severities: only the targets of corruptions are made in some; leave it out, or add "
            "--worlds corruptions"
        )
    code = 0
    for world in worlds:
        common = shared(args, data=world.source)
        jobs = shift_jobs(
            common,
            world,
            learners=args.learners or LEARNERS,
            seeds=args.seeds,
            made=args.shifted,
            severities=args.severities,
            only_written=args.dry_run,
        )
        left = len(unwritten_targets(world, args.shifted, args.severities))
        if args.dry_run and left:
            print(f"{left} targets are written first, in {args.shifted / world.source}")
        if not args.dry_run:
            write_targets(
                world,
                args.shifted,
                severities=args.severities,
                data_root=args.data_root,
                progress=console_progress(),
            )
        code = max(code, carry_out(plan(jobs), args, f"{FOLDER}/{world.name}"))
    return code
