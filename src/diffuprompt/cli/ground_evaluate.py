"""`diffuprompt ground evaluate`: score trained grounding runs on their test expressions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional

EXAMPLES = """
diffuprompt ground evaluate runs/ground-scenes-diff-prompt-seed1-1a2b3c4d
diffuprompt ground evaluate runs/ground-scenes-diff-prompt-seed1-1a2b3c4d --test scenes crowds
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Score runs; what is scored already is left alone."""

    runs: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Folders that `diffuprompt ground train` printed."""
    test: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Test sets, as in `diffuprompt ground train`; without it the run's own."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where pictures are now, if not where they were."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """auto, cpu, cuda, cuda:N or mps; by default what the run was trained with."""


def run(args: Args) -> int:
    """Write ``record.json`` of each run, and print what was found."""
    from diffuprompt.cli.console import console_progress, table
    from diffuprompt.jobs import evaluate_grounding
    from diffuprompt.record_grounding import read_grounding_record

    rows = []
    for folder in args.runs:
        path = evaluate_grounding(
            folder,
            test=args.test,
            data_root=args.data_root,
            device=args.device,
            progress=console_progress(),
        )
        record = read_grounding_record(path)
        for scores in record.tests:
            found = [scores.metrics[name] for name in ("r1", "r5", "r10", "ub")]
            rows.append([record.job.method, record.job.seed, scores.test, *found])
    print(table(["method", "seed", "test set", "R@1", "R@5", "R@10", "UB"], rows))
    return 0
