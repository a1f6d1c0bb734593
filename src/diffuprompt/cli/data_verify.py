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
    from diffuprompt.data import Manifest, Split

EXAMPLES = """
diffuprompt data verify scenes
diffuprompt data verify ~/Pictures/birds
diffuprompt data verify labels.csv --data-root ~/Pictures
diffuprompt data verify ~/Pictures/birds --backbone photo-clip-lite
diffuprompt data verify caltech101 --write-checksums caltech101.sha256
diffuprompt data verify caltech101 --checksums caltech101.sha256
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Read every image of a data set and list all problems."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="NAME|PATH")]
    """A name, a folder per class or with train/val/test, a CSV, a split JSON or an archive. Read
    are all raster formats that pillow decodes by itself, up to 128 million pixels an image and one
    side 100 times as long as the other."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    allow_outside: Switch[bool] = False
    """Read pictures outside that folder too: behind links, by ".." or as absolute paths."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "auto"
    """Class names must fit into its context; auto: the one that `train` would take."""
    write_checksums: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the sha256 of every picture there, as `sha256sum -c` reads it in the images' folder."""
    checksums: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Compare every picture with such a file."""


def run(args: Args) -> int:
    """Print the counts, then every problem; 3 when one is an error, 0 with warnings only."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.data import (
        compare,
        is_test_only,
        open_dataset,
        read_checksums,
        verify,
        write_checksums,
    )
    from diffuprompt.jobs import names_too_long

    wanted = None if args.checksums is None else read_checksums(args.checksums)
    manifest = open_dataset(  # verify checks it
        args.data, root=args.data_root, check=False, allow_outside=args.allow_outside
    )
    print(counts(manifest), flush=True)
    problems = names_too_long(manifest, args.backbone, args.data)
    digests: dict[str, str] = {}
    # what `diffuprompt train` asks for, or evaluation of what is published to test on
    needs: tuple[Split, ...] = ("test",) if is_test_only(args.data) else ("train", "test")
    problems += verify(manifest, console_progress(), needs=needs, digests=digests)
    if wanted is not None:
        problems += compare(manifest, wanted, digests)
    for problem in problems:
        print(f"{problem.severity}: {problem}")
    if args.write_checksums is not None:
        write_checksums(args.write_checksums, digests)
        print(f"{len(digests)} checksums in {args.write_checksums}, relative to {manifest.root}")
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
