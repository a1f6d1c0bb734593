"""`diffuprompt choose`: which method for my pictures, found by trials inside the training ones."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffuprompt.cli.parse import Switch, bounded
from diffuprompt.errors import ConfigError
from diffuprompt.ranges import FOLDS, MINUTES, SEED, SHOTS, WORKERS

if TYPE_CHECKING:
    from diffuprompt.choosing import Choice, Question, Row

EXAMPLES = """
diffuprompt choose --data ~/Pictures/birds
diffuprompt choose --data ~/Pictures/birds --minutes 30 --train
diffuprompt choose --data caltech101 --learners zero-shot tip-adapter coop --generators none --json
"""
PROTOCOL = "few-shot"  # of the winner: all classes


@dataclass(frozen=True, kw_only=True)
class Args:
    """Find out which method names held-out training pictures best; no test picture is touched."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = ""
    """A name (`diffuprompt ls datasets`), a folder per class, a CSV, a split JSON, tar files or
    hf:NAME."""
    minutes: Annotated[float, MINUTES, bounded(MINUTES)] = 10.0
    """The budget; when it runs out, what is finished is ranked, and the same command with more
    minutes goes on."""
    learners: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """What to choose from (`diffuprompt ls learners`); all where none is named."""
    generators: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """none, and names of generators (`diffuprompt ls generators`) to try with the learners that
    come through the first round; none and diffusion where nothing is named."""
    folds: Annotated[int, FOLDS, bounded(FOLDS)] = 4
    """Parts of the training pictures, each held out once."""
    train: Switch[bool] = False
    """Go on to train the winner on all training pictures."""
    json: Switch[bool] = False
    """Print one JSON object instead of a table."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    exif_orientation: Switch[bool] = False
    """Turn pictures as their EXIF orientation says."""
    allow_outside: Switch[bool] = False
    """Read pictures outside that folder too."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "auto"
    """As of `diffuprompt train`."""
    shots: Annotated[int, SHOTS, bounded(SHOTS)] = 16
    """Labelled images per class."""
    seed: Annotated[int, SEED, bounded(SEED)] = 1
    """The one seed that everything random is derived from."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where runs are kept, and beside them what was tried."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    workers: Annotated[int, WORKERS, bounded(WORKERS)] = 2
    """Threads that read images."""


def run(args: Args) -> int:
    """Try, rank, say what to do next; and with --train do it."""
    asked = question(args)
    from diffuprompt.choosing import choose
    from diffuprompt.cli.console import console_progress

    choice = choose(asked, console_progress())
    words = command(args, choice)
    if args.json:
        print(json.dumps({**choice.to_json(), "command": shlex.join(words)}, indent=2), flush=True)
    else:
        print(as_text(choice))
        print(f"\n{'train it:' if not args.train else 'training:'} {shlex.join(words)}", flush=True)
    if not args.train:
        return 0
    with redirect_stdout(sys.stderr if args.json else sys.stdout):  # one object and nothing else
        return train(words)


def question(args: Args) -> Question:
    """Return what is asked, validated.

    Raises:
        ConfigError: --data is missing, or a name or number that is none.
    """
    from diffuprompt.choosing import Question

    if not args.data:
        raise ConfigError("--data is required: a name from 'diffuprompt ls datasets', or a path")
    values = {f.name: getattr(args, f.name) for f in dataclasses.fields(args)}
    for name in ("train", "json"):
        del values[name]
    return Question(**values)


def command(args: Args, choice: Choice) -> list[str]:
    """Return the command line that trains the winner, with what was asked here."""
    words = ["diffuprompt", "train", "--data", args.data, "--protocol", PROTOCOL]
    words += ["--learner", choice.winner.learner]
    defaults = Args()
    if choice.winner.generator != "none":
        words += ["--generator", choice.winner.generator]
    for name in ("data_root", "backbone", "shots", "seed", "runs_dir", "device", "workers"):
        value = getattr(args, name)
        if value != getattr(defaults, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    for name in ("exif_orientation", "allow_outside"):
        words += [f"--{name.replace('_', '-')}"] if getattr(args, name) else []
    return words


def train(words: list[str]) -> int:
    """Train by a command line, as if it had been typed."""
    from diffuprompt.cli import train as verb
    from diffuprompt.cli.parse import parse

    return verb.run(parse(verb.Args, words[2:], prog="diffuprompt train"))


def as_text(choice: Choice) -> str:
    """Return the ranking and what it means."""
    from diffuprompt.cli.console import table

    header = ["method", "right %", "95 % interval", "from the best", "pictures", "seconds", ""]
    rows = [_cells(row, choice) for row in choice.rows]
    winner, best = choice.winner, choice.best
    lines = [table(header, rows), ""]
    if winner == best:
        lines.append(f"{winner.title} is the most accurate; nothing level with it is much faster.")
    else:
        lines.append(
            f"{best.title} is the most accurate; {winner.title} is within one standard error of it "
            "(paired by picture) and faster to train, so it is taken."
        )
    taken = next(row for row in choice.rows if _is_taken(row, choice))
    if taken.state == "stopped":
        lines.append(
            f"{winner.title} was stopped before the last round; on the {taken.pictures} pictures "
            "that it was tried on it is more than one standard error better than those that came "
            "through. More --minutes would say more."
        )
    most = max(row.pictures for row in choice.rows)
    lines.append(
        f"Measured on {most} of {choice.pictures} training pictures, held out in turn; no test "
        "picture was touched. 'From the best' is in points on the same pictures, with its 95 % "
        "interval."
    )
    if not choice.complete:
        lines.append(
            f"The budget of {choice.question.minutes:g} minutes ran out before everything was "
            "tried; the same command with more --minutes goes on where this one stopped."
        )
    lines += [f"left out: {name}: {why}" for name, why in choice.left_out.items()]
    return "\n".join(lines)


def _is_taken(row: Row, choice: Choice) -> bool:
    return (row.learner, row.generator) == (choice.winner.learner, choice.winner.generator)


def _cells(row: Row, choice: Choice) -> list[object]:
    name = row.learner + ("" if row.generator == "none" else f"+{row.generator}")
    is_winner = _is_taken(row, choice)
    notes: list[str] = ["taken"] if is_winner else []
    notes += [] if row.state == "finalist" else [row.state]
    if row.accuracy is None or row.difference is None:
        return [name, None, None, None, None, None, ": ".join(filter(None, [*notes, row.note]))]
    if row.share < 1:
        notes.append(f"after {100 * row.share:.0f} % of the epochs")
    gap = row.difference
    return [
        name,
        row.accuracy,
        f"{row.low:.1f} to {row.high:.1f}",
        f"{gap.estimate:+.1f} ({gap.low:+.1f} to {gap.high:+.1f})",
        row.pictures,
        row.seconds,
        ", ".join(notes),
    ]
