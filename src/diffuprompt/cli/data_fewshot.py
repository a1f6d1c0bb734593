"""`diffuprompt data fewshot`: a few-shot subset as a file, to share or to train on."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional, Switch, bounded
from diffuprompt.ranges import SEED, SHOTS

EXAMPLES = """
diffuprompt data fewshot caltech101 --shots 16 --seed 1 --out subset.json
diffuprompt data fewshot ~/Pictures/birds --shots 4 --out birds-4.json
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Write a few-shot subset as JSON with relative paths: train and val drawn, test whole."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="NAME|PATH")]
    """What --data takes."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """Where to write it, as a community split file."""
    shots: Annotated[int, SHOTS, bounded(SHOTS)] = 16
    """Training images a class; at most 4 of them in val."""
    seed: Annotated[int, SEED, bounded(SEED)] = 1
    """The same subset as training with this seed draws, and as the benchmark's code does."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    allow_outside: Switch[bool] = False
    """Read pictures outside that folder too: behind links, by ".." or as absolute paths."""


def run(args: Args) -> int:
    """Write the file, and print its counts and how to train on it."""
    from diffuprompt.cli.data_verify import counts
    from diffuprompt.data import few_shot, leads_outside, open_dataset, write_split_file

    whole = open_dataset(args.data, root=args.data_root, allow_outside=args.allow_outside)
    drawn = few_shot(whole, args.shots, args.seed)
    write_split_file(args.out, drawn)
    print(counts(drawn))
    print(f"written to {args.out}; train on it with:")
    outside = args.allow_outside or leads_outside(
        drawn.root, (item.path for items in drawn.splits.values() for item in items)
    )
    print(f"  {shlex.join(_training(args, drawn.root, allow_outside=outside))}")
    template = _template(whole.name)
    if template:
        print(
            "zero-shot, CLIP-Adapter and Tip-Adapter know its template by name alone; "
            f"for them add:\n  --templates {shlex.quote(template)}"
        )
    return 0


def _training(args: Args, root: Path, *, allow_outside: bool) -> list[str]:
    """Return the command that trains on the subset as `train --data` of the whole would."""
    from diffuprompt.data import names

    words = ["diffuprompt", "train", "--data", str(args.out), "--data-root", str(root)]
    words += ["--shots", str(args.shots)]
    if args.data in names():  # of a file, as of all pictures of one's own, "auto" is few-shot
        words += ["--protocol", "base-to-new"]
    return words + (["--allow-outside"] if allow_outside else [])


def _template(dataset: str) -> str:
    """Return the template that a data set of the catalog has of its own, "" where it has none."""
    from diffuprompt.clip import SINGLE
    from diffuprompt.data import CATALOG, catalog_name

    entry = CATALOG.get(catalog_name(dataset))
    return "" if entry is None or entry.template == SINGLE else entry.template
