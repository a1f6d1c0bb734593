"""`diffuprompt study cross-dataset`: train on one data set, test on many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.study import MethodArgs, StudyArgs, carry_out, shared

EXAMPLES = """
diffuprompt study cross-dataset --data imagenet --learners coop cocoop maple
diffuprompt study cross-dataset --data caltech101 --test-data scenes ~/Pictures/birds --seeds 1
"""


@dataclass(frozen=True, kw_only=True)
class Args(MethodArgs, StudyArgs):
    """Train on all classes of one data set, and score it and others among their own names."""

    test_data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|PATH...")] = ()
    """The others; without it, for ImageNet, those of the ten published ones that are here."""


def run(args: Args) -> int:
    """Run the matrix, or list it."""
    common = replace(shared(args), test_data=args.test_data)
    from diffuprompt.matrix import plan
    from diffuprompt.studies import cross_dataset_jobs

    jobs = cross_dataset_jobs(common, args.learners, args.seeds, generators=args.generators)
    return carry_out(plan(jobs), args, f"cross-dataset-{Path(args.data).name}")
