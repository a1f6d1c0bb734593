"""`diffuprompt evaluate`: score finished runs and show base, new and their harmonic mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional
from diffuprompt.errors import ConfigError, DataError

EXAMPLES = """
diffuprompt evaluate runs/scenes-cocoop
diffuprompt evaluate runs/*
diffuprompt evaluate runs/scenes-cocoop --no-controls
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Score finished runs on their test images."""

    run: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")] = ()
    """Folders that 'diffuprompt train' made."""
    controls: bool = True
    """Also score what diffusion has to beat: mean, shuffled, noise, nearest, regression, oracle."""


def run(args: Args) -> int:
    """Evaluate every run in turn; all folders are looked at before the first one starts."""
    if not args.run:
        raise ConfigError("name at least one run folder, for example 'diffuprompt evaluate runs/*'")
    wrong = [folder for folder in args.run if not (folder / "run.json").is_file()]
    if wrong:
        names = "\n  ".join(f"{folder}: not a run folder (no run.json)" for folder in wrong)
        raise DataError(f"{names}\n  expected folders that 'diffuprompt train' made")
    from diffuprompt.cli.console import console_progress
    from diffuprompt.cli.summary import summary
    from diffuprompt.protocols.evaluate import evaluate_run
    from diffuprompt.record import read_record
    from diffuprompt.report.load import Source

    progress = console_progress()
    for folder in args.run:
        path = evaluate_run(folder, controls=args.controls, progress=progress)
        source = Source(path=path, record=read_record(path))
        print(f"{summary([source])}\n\nrecord: {path}\n", flush=True)
    return 0
