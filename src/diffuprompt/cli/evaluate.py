"""`diffuprompt evaluate`: score finished runs and show base, new and their harmonic mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffuprompt.cli.parse import Positional, Switch, bounded
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.ranges import NFE, SAMPLES

EXAMPLES = """
diffuprompt evaluate runs/scenes-cocoop
diffuprompt evaluate runs/*
diffuprompt evaluate runs/scenes-cocoop --no-oracle
diffuprompt evaluate runs/scenes-cocoop --controls none --nfe 1 2 3 10
diffuprompt evaluate runs/scenes-cocoop --samples 8
diffuprompt evaluate runs/scenes-cocoop --controls basic --open-world
diffuprompt evaluate runs/caltech101-cocoop --data caltech101 scenes ~/Pictures/birds
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Score finished runs on their test images."""

    run: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")] = ()
    """Folders that 'diffuprompt train' made."""
    controls: Literal["all", "basic", "none"] = "all"
    """What generated prompts have to beat. basic: regression and shuffled, which decide; all:
    noise, nearest, mean and the oracle too."""
    oracle: bool = True
    """Whether "all" holds the oracle, by far the slowest: it overfits prompts for test images."""
    nfe: Annotated[tuple[int, ...], NFE, bounded(NFE, "N...")] = ()
    """Also sample with these numbers of evaluations; an evaluated run is only added to."""
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|PATH...")] = ()
    """Test on these data sets, and add the scores; without it on those of the run. Answers are
    among all classes of a data set; NAME:base and NAME:new test one half of them."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of their images, where a data set does not say it; without --data, where the run's
    own images are now."""
    allow_outside: Switch[bool] = False
    """Read pictures outside that folder too: behind links, by ".." or as absolute paths."""
    again: Switch[bool] = False
    """Score anew what has been scored."""
    rehash: Switch[bool] = False
    """Read every picture again, whatever is remembered of its content."""
    open_world: Switch[bool] = False
    """Also score images of base and new classes among the names of both, beside the trivial
    control: the method for base names and the frozen backbone for new ones."""
    samples: Annotated[int, SAMPLES, bounded(SAMPLES)] = 1
    """From 2 on, also score the mean of the probabilities over that many draws of prompts."""


def run(args: Args) -> int:
    """Evaluate every run in turn; all folders are checked before the first one starts."""
    if not args.run:
        raise ConfigError("name at least one run folder, for example 'diffuprompt evaluate runs/*'")
    wrong = [folder for folder in args.run if not (folder / "run.json").is_file()]
    if wrong:
        names = "\n  ".join(f"{folder}: not a run folder ({_why(folder)})" for folder in wrong)
        raise DataError(f"{names}\n  expected folders that 'diffuprompt train' made")
    from diffuprompt.cli.console import console_progress
    from diffuprompt.cli.summary import summary
    from diffuprompt.jobs import Evaluation, evaluate_run
    from diffuprompt.record import read_record
    from diffuprompt.report import Source

    evaluation = Evaluation(
        controls=args.controls,
        oracle=args.oracle,
        nfe=args.nfe,
        samples=args.samples,
        open_world=args.open_world,
    )
    progress = console_progress()
    for folder in args.run:
        path = evaluate_run(
            folder,
            evaluation=evaluation,
            data=args.data,
            data_root=args.data_root,
            allow_outside=args.allow_outside,
            again=args.again,
            rehash=args.rehash,
            progress=progress,
        )
        source = Source(path=path, record=read_record(path))
        print(f"{summary([source])}\n\nrecord: {path}\n", flush=True)
    return 0


def _why(folder: Path) -> str:
    """Return what is there in the place of a run."""
    if not folder.exists():
        return "there is no such folder"
    if not folder.is_dir():
        return "it is a file"
    if (folder / "artifact.json").is_file():
        return "no run.json: an artifact, which can predict but does not say what to score it on"
    runs = sorted(path.parent.name for path in folder.glob("*/run.json"))
    if runs:
        return f"no run.json, but there are runs in it: {', '.join(runs[:3])}"
    return "no run.json"
