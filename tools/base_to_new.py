"""Make the records behind RESULTS.md: every method, base-to-new, seeds 1, 2, 3.

    python -m tools.base_to_new --data caltech101 --backbone photo-clip-lite
    python -m tools.base_to_new --data scenes --backbone scenes-clip
    diffuprompt report results --write RESULTS.md

The same as the commands ``diffuprompt train`` and ``diffuprompt evaluate`` for every job, one after
the other; finished jobs are not repeated. Records are copied into ``results/``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from diffuprompt.cli.console import console_progress, set_up_logging
from diffuprompt.engine.files import write_bytes
from diffuprompt.protocols.evaluate import evaluate_run
from diffuprompt.protocols.job import JobConfig
from diffuprompt.protocols.train import train_job

METHODS = ("zero-shot", "coop", "cocoop", "cocoop+diffusion", "coop+diffusion")


def main() -> None:
    """Run the matrix."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="caltech101")
    parser.add_argument("--backbone", default="photo-clip-lite")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args()
    set_up_logging()
    for seed in args.seeds:
        for method in args.methods:
            learner, _, generator = method.partition("+")
            progress = console_progress()
            job = JobConfig(
                data=args.data, backbone=args.backbone, learner=learner,
                generator=generator or "none",
                seed=seed, protocol="base-to-new", runs_dir=args.runs,
            )  # fmt: skip
            run = train_job(job, progress)
            record = evaluate_run(run, progress=progress)
            folder = args.results / f"base-to-new-{args.data}"
            write_bytes(folder / f"{run.name}.json", record.read_bytes())


if __name__ == "__main__":
    main()
