"""`diffuprompt data shift`: corruptions and styles of a data set's test pictures, to test on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffuprompt.cli.parse import Positional, Switch, bounded
from diffuprompt.errors import ConfigError
from diffuprompt.ranges import SEED, SEVERITY

EXAMPLES = """
diffuprompt data shift scenes --out shifted/scenes
diffuprompt data shift ~/Pictures/birds --out shifted/birds --kinds blur noise --severities 3
diffuprompt data shift caltech101 --out shifted/caltech101 --severities 1 3 5
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Write corrupted and styled copies of a data set's test pictures.

    Each kind and severity becomes a folder OUT/KIND-SEVERITY, which `diffuprompt evaluate --data`
    scores a run on, with the classes of the original in their order. A complete folder is left
    alone; an interrupted call goes on where it was.
    """

    data: Annotated[Positional[str], tyro.conf.arg(metavar="NAME|PATH")]
    """Catalog name, a folder per class, a folder with train/val/test, a CSV or a split JSON."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the copies; required."""
    kinds: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """grey, edges, blur, noise, jpeg, contrast, palette; without it all of them."""
    severities: Annotated[tuple[int, ...], SEVERITY, bounded(SEVERITY, "N...")] = (1, 2, 3, 4, 5)
    """How strong: of blur, noise, jpeg and contrast the levels of ImageNet-C."""
    seed: Annotated[int, SEED, bounded(SEED)] = 1
    """Of the noise; a picture's own follows from its path, kind and severity too."""
    split: Literal["test", "val", "train"] = "test"
    """Which pictures."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    allow_outside: Switch[bool] = False
    """Read pictures outside that folder too: behind links, by ".." or as absolute paths."""


def run(args: Args) -> int:
    """Write one folder after the other and say how to score on them."""
    if args.out is None:
        raise ConfigError("--out is required: the folder in which the copies will lie")
    if not args.severities:
        raise ConfigError("--severities: expected at least one")
    from diffuprompt.cli.console import console_progress
    from diffuprompt.data import SHIFTS, check_kind, open_dataset, write_shifted

    check_kind(*args.kinds)
    manifest = open_dataset(
        args.data, root=args.data_root, check=False, allow_outside=args.allow_outside
    ).check(needs=(args.split,))
    progress = console_progress()
    for kind in args.kinds or SHIFTS:
        for severity in args.severities:
            folder = write_shifted(
                manifest,
                args.out,
                kind=kind,
                severity=severity,
                seed=args.seed,
                split=args.split,
                progress=progress,
            )
            print(folder, flush=True)
    print(f"next: diffuprompt evaluate RUN --data {args.out}/*")
    return 0
