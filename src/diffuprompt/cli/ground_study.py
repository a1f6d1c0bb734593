"""`diffuprompt ground study`: Diff-Prompt, rivals, controls and ablations on made worlds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Repeated, bounded
from diffuprompt.cli.study import MatrixArgs, carry_out, setting_of
from diffuprompt.ranges import SEED

EXAMPLES = """
diffuprompt ground study --dry-run
diffuprompt ground study --worlds scenes --seeds 1 --no-ablations
diffuprompt ground study --methods zero-shot diff-prompt regression lora
"""
FOLDER = "grounding"


@dataclass(frozen=True, kw_only=True)
class Args(MatrixArgs):
    """Train and score everything on scenes, crowds and collages, and write the page of results.

    What is finished is not repeated, so a study can be given in parts. Jobs run in an order in
    which it can be cut off anywhere: the frozen detector, Diff-Prompt and the control without
    diffusion come first, ablations last.
    """

    worlds: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Some of scenes, crowds and collages; without it all."""
    seeds: Annotated[tuple[int, ...], SEED, bounded(SEED, "N...")] = (1, 2, 3)
    """Each method is trained with each of these seeds; what is not trained, the paper's and the
    released form, and ablations with seed 1 only."""
    methods: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Some of the rows, such as diff-prompt, regression and lora; without it all."""
    ablations: bool = True
    """Whether Diff-Prompt is also trained with one thing changed."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data sets, for collages."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    set: Annotated[Repeated[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """Change one value of every job, as in `diffuprompt ground train`."""
    setting: Annotated[str, tyro.conf.arg(metavar="TEXT")] = ""
    """Name of what --set changes: the page shows these rows apart, beside the main ones."""


def run(args: Args) -> int:
    """Run the jobs and write the page of all their records, or list them."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.matrix import plan_grounding
    from diffuprompt.studies import (
        SharedFields,
        grounding_jobs,
        write_gallery,
        write_grounding_results,
    )

    shared = SharedFields(
        data_root=args.data_root,
        overrides=args.set,
        setting=setting_of(args.setting, bool(args.set)),
        runs_dir=args.runs_dir,
        device=args.device,
        workers=args.threads,
    )
    jobs = grounding_jobs(
        args.worlds, args.seeds, args.methods, ablations=args.ablations, shared=shared
    )
    planned = plan_grounding(jobs)
    code = carry_out(planned, args, FOLDER)
    folder = args.results / FOLDER
    if not args.dry_run and any(folder.glob("*.json")):
        runs = [p.path for p in planned if p.is_finished]
        write_gallery(runs, folder, data_root=args.data_root, progress=console_progress())
        for path in write_grounding_results(folder):
            print(f"wrote {path}")
    return code
