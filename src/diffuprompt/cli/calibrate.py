"""`diffuprompt calibrate`: an honest temperature, and a threshold for "none of these"."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffuprompt.cli.parse import Positional, bounded
from diffuprompt.ranges import FOLDS

if TYPE_CHECKING:
    from diffuprompt.engine import Progress
    from diffuprompt.hub import Calibration

EXAMPLES = """
diffuprompt calibrate runs/birds
diffuprompt calibrate runs/birds --unknown ~/Pictures/other
"""
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Args:
    """Fit what makes a run's answers honest, on pictures that it was not trained on."""

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A trained run."""
    unknown: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Pictures that show none of the classes, at any depth."""
    folds: Annotated[int, FOLDS, bounded(FOLDS)] = 4
    """Where there are too few validation pictures: parts of the training pictures, each held out
    from a training of its own."""


def run(args: Args) -> int:
    """Fit, and say what was found."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.jobs import calibrate_run

    progress = console_progress()
    found = calibrate_run(args.run, unknown=args.unknown, folds=args.folds, progress=progress)
    assert found is not None, "it was allowed to train"
    print(as_text(found))
    return 0


def fit(folder: Path, unknown: Path | None, progress: Progress) -> None:
    """Calibrate a run that was just trained.

    Without unknown pictures only as far as that takes no further training.
    """
    from diffuprompt.jobs import calibrate_run

    found = calibrate_run(folder, unknown=unknown, train=unknown is not None, progress=progress)
    if found is None:
        log.info(
            "too few validation pictures for a threshold; 'diffuprompt calibrate %s' holds out "
            "training pictures instead, which takes four trainings", folder,
        )  # fmt: skip
    else:
        log.info("%s", as_text(found))


def as_text(found: Calibration) -> str:
    """Return what was fitted, on what, and how well it does."""
    where = {"val": "validation pictures", "folds": "training pictures, held out in turn"}
    on = f"{found.pictures} {where[found.held_out]}"
    if found.others:
        on += f", and {found.others} of something else"
    told = found.measured
    lines = [
        f"calibrated on {on}: temperature {found.temperature:.3g}, expected calibration error "
        f"{told['ece_before']:.1f} % before and {told['ece_after']:.1f} % after",
        f'"none of these" below {found.threshold:.4g} ({found.score})',
    ]
    if (key := f"unknown_auroc_{found.score}") in told:
        what = "those" if found.others else "pictures of classes that are left out"
        lines[1] += (
            f": told from {what} with an AUROC of {told[key]:.1f} %; where 95 % of the known pass, "
            f"{told[f'unknown_fpr95_{found.score}']:.0f} % of the unknown do"
        )
    if found.held_out == "folds":
        lines.append(
            "each held-out picture was scored by a model of fewer pictures than the artifact's "
            "own, whose scores may lie elsewhere"
        )
    return "\n".join(lines)
