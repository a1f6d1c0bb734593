"""`diffuprompt study plug-in`: what generated prompts add to each learner, against controls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffuprompt.cli.parse import Switch, bounded
from diffuprompt.cli.study import StudyArgs, carry_out, shared
from diffuprompt.ranges import OVERFIT_STEPS
from diffuprompt.studies import FOCUS, LEARNERS, STEPS

EXAMPLES = """
diffuprompt study plug-in --data scenes --dry-run
diffuprompt study plug-in --data caltech101 --backbone photo-clip-lite --precision bf16 --jobs 2
diffuprompt study plug-in --data scenes --learners coop vpt --seeds 1 --rivals-for --sweep-for
diffuprompt study plug-in --data scenes --generators diffusion --no-oracle --set fit.epochs=20
"""
FOLDER = "plugin-study"


@dataclass(frozen=True, kw_only=True)
class Args(StudyArgs):
    """Plug diffusion into every learner, with rivals, controls and sweeps.

    What is finished is not repeated, so a study can be given in parts, such as the sweeps for one
    seed.
    """

    learners: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Which of `diffuprompt ls learners`; without it the six of the study."""
    generators: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Which of `diffuprompt ls generators`; without it all."""
    rivals_for: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = FOCUS
    """Learners for which the generators besides diffusion are trained; may be empty."""
    sweep_for: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = FOCUS
    """Learners for which evaluations (1 to 100) and overfitting iterations (0 to 10) vary."""
    steps: Annotated[tuple[int, ...], OVERFIT_STEPS, bounded(OVERFIT_STEPS, "N...")] = ()
    """Overfitting iterations of the sweep; without it 1 to 10."""
    controls: Literal["all", "basic"] = "all"
    """basic: the two controls that decide, regression and shuffled pi."""
    oracle: bool = True
    """Whether all controls hold prompts overfitted to the test labels, by far the slowest."""
    open_world: Switch[bool] = False
    """Also score base and new classes among the names of both, beside the trivial control."""


def run(args: Args) -> int:
    """Run the matrix and write the summary of all its records, or list the jobs."""
    common = shared(args)
    from diffuprompt.jobs import GENERATORS
    from diffuprompt.matrix import plan
    from diffuprompt.studies import FILE, plug_in_jobs, update_summary

    learners = args.learners or LEARNERS
    # a focus that was not asked for by name is only for learners that are there
    focus = [
        names if names != FOCUS else tuple(name for name in FOCUS if name in learners)
        for names in (args.rivals_for, args.sweep_for)
    ]
    jobs = plug_in_jobs(
        common,
        learners=learners,
        seeds=args.seeds,
        generators=args.generators or tuple(g for g in GENERATORS if g != "none"),
        rivals_for=focus[0],
        sweep_for=focus[1],
        steps=args.steps or STEPS,
        controls=args.controls,
        oracle=args.oracle,
        open_world=args.open_world,
    )
    code = carry_out(plan(jobs), args, f"{FOLDER}/{Path(args.data).name}")
    folder = args.results / FOLDER
    if not args.dry_run and update_summary(folder):
        print(f"wrote {folder / FILE}")
    return code
