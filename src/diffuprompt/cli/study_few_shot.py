"""`diffuprompt study few-shot`: the curve of accuracy over labelled images per class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from diffuprompt.cli.parse import bounded
from diffuprompt.cli.study import DataArgs, MethodArgs, carry_out, shared
from diffuprompt.ranges import SHOTS

EXAMPLES = """
diffuprompt study few-shot --data caltech101 --learners coop tip-adapter
diffuprompt study few-shot --data scenes --shots 1 4 16 --seeds 1 2
"""


@dataclass(frozen=True, kw_only=True)
class Args(MethodArgs, DataArgs):
    """Train on all classes with few and with more images, and score the whole test set."""

    shots: Annotated[tuple[int, ...], SHOTS, bounded(SHOTS, "N...")] = (1, 2, 4, 8, 16)
    """Labelled images per class, one job for each number."""


def run(args: Args) -> int:
    """Run the matrix, or list it."""
    common = shared(args)
    from diffuprompt.matrix import plan
    from diffuprompt.studies import few_shot_jobs

    jobs = few_shot_jobs(common, args.learners, args.seeds, args.shots, generators=args.generators)
    return carry_out(plan(jobs), args, f"few-shot-{Path(args.data).name}")
