"""`diffuprompt study base-to-new`: many learners and seeds on one data set and backbone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffuprompt.cli.parse import Switch
from diffuprompt.cli.study import MethodArgs, StudyArgs, carry_out, shared

EXAMPLES = """
diffuprompt study base-to-new --data scenes --learners coop cocoop --seeds 1
diffuprompt study base-to-new --data caltech101 --backbone photo-clip-lite --jobs 2
diffuprompt study base-to-new --data scenes --precision bf16 --open-world --dry-run
diffuprompt study base-to-new --data scenes --learners llu --generators none diffusion
"""


@dataclass(frozen=True, kw_only=True)
class Args(MethodArgs, StudyArgs):
    """Train and score many learners and seeds; what is finished is not repeated."""

    open_world: Switch[bool] = False
    """Also score base and new classes among the names of both, beside the trivial control, as
    `diffuprompt evaluate --open-world` does."""


def run(args: Args) -> int:
    """Run the matrix, or list it."""
    common = shared(args)
    from diffuprompt.matrix import plan
    from diffuprompt.studies import base_to_new_jobs

    jobs = base_to_new_jobs(
        common,
        args.learners,
        args.seeds,
        generators=args.generators,
        open_world=args.open_world,
    )
    return carry_out(plan(jobs), args, f"base-to-new-{Path(args.data).name}")
