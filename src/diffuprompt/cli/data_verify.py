"""`diffuprompt data verify`: read every image and list all problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffuprompt.cli.parse import Positional, Switch
from diffuprompt.errors import DataError

if TYPE_CHECKING:
    from diffuprompt.data import Manifest

EXAMPLES = """
diffuprompt data verify scenes
diffuprompt data verify ~/Pictures/birds
diffuprompt data verify labels.csv --data-root ~/Pictures
diffuprompt data verify ~/Pictures/birds --backbone photo-clip-lite
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Read every image of a data set and list all problems."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="NAME|PATH")]
    """Catalog name, a folder per class, a folder with train/val/test, a CSV or a split JSON. Read
    are all raster formats that pillow decodes by itself, up to 128 million pixels an image and one
    side 100 times as long as the other."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    allow_outside: Switch[bool] = False
    """Read pictures outside that folder too: behind links, by ".." or as absolute paths."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "auto"
    """Class names must fit into its context; auto: the one that `train` would take."""


def run(args: Args) -> int:
    """Print the counts, then every problem; 3 when one is an error, 0 with warnings only."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.data import open_dataset, verify
    from diffuprompt.jobs import names_too_long

    manifest = open_dataset(  # verify checks it
        args.data, root=args.data_root, check=False, allow_outside=args.allow_outside
    )
    print(counts(manifest), flush=True)
    problems = names_too_long(manifest, args.backbone, args.data)
    # what `diffuprompt train` asks for
    problems += verify(manifest, console_progress(), needs=("train", "test"))
    for problem in problems:
        print(f"{problem.severity}: {problem}")
    errors = sum(problem.severity == "error" for problem in problems)
    print(f"{errors} error(s), {len(problems) - errors} warning(s)")
    return DataError.exit_code if errors else 0


def counts(manifest: Manifest) -> str:
    """Return images per split, and the smallest and largest class in each."""
    from diffuprompt.cli.console import table

    rows = []
    for split, items in manifest.splits.items():
        sizes = Counter(item.label for item in items)
        each = [sizes[label] for label in range(len(manifest.classes))]
        rows.append([split, len(items), min(each, default=0), max(each, default=0)])
    header = ["split", "images", "smallest class", "largest class"]
    title = f"{manifest.name}: {len(manifest.classes)} classes under {manifest.root}"
    return f"{title}\n{table(header, rows)}"
