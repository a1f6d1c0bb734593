"""`diffuprompt data add`: a name for a data set of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional, Switch
from diffuprompt.errors import ConfigError

EXAMPLES = """
diffuprompt data add birds ~/Pictures/birds
diffuprompt data add labels ~/labels.csv --data-root ~/Pictures
diffuprompt data add shards 'shards/train-{000..012}.tar'
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Give a data set of your own a name, for --data everywhere."""

    name: Annotated[Positional[str], tyro.conf.arg(metavar="NAME")]
    """Letters, digits, "-" and "_"; no name of the catalog."""
    path: Annotated[Positional[str], tyro.conf.arg(metavar="PATH")]
    """What --data takes: a folder, a CSV, a split JSON, tar files, or hf:NAME."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    allow_outside: Switch[bool] = False
    """Read pictures outside that folder too: behind links, by ".." or as absolute paths."""


def run(args: Args) -> int:
    """Open the data set, keep its name and print its counts."""
    from diffuprompt.cli.data_verify import counts
    from diffuprompt.data import (
        Registered,
        absolute_hub_spec,
        is_hub_spec,
        name_problem,
        names,
        open_dataset,
        register,
        registered,
    )

    problem = name_problem(args.name, names())
    if problem:
        raise ConfigError(problem)
    if is_hub_spec(args.path):
        spec = absolute_hub_spec(args.path)
    else:
        spec = str(Path(args.path).expanduser().absolute())
    if args.path in names() or args.path in registered():
        raise ConfigError(f"{args.path} is a name already; expected a path (./{args.path})")
    root = None if args.data_root is None else args.data_root.expanduser().absolute()
    manifest = open_dataset(spec, root=root, check=False, allow_outside=args.allow_outside)
    manifest.check(needs=("test",))
    entry = Registered(path=spec, data_root=root, allow_outside=args.allow_outside)
    replaced = registered().get(args.name)
    file = register(args.name, entry)
    print(counts(manifest))
    print(f"{args.name} is {spec} from now on; kept in {file}")
    if replaced is not None and replaced != entry:
        print(f"it was {replaced.path} before")
    return 0
