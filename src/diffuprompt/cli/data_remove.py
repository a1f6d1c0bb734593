"""`diffuprompt data remove`: forget the name of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional
from diffuprompt.errors import ConfigError, near_miss

EXAMPLES = """
diffuprompt data remove birds
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Forget a name that `data add` gave; the pictures stay as they are."""

    name: Annotated[Positional[str], tyro.conf.arg(metavar="NAME")]
    """One that `diffuprompt ls datasets` lists as your own."""


def run(args: Args) -> int:
    """Drop the name."""
    from diffuprompt.data import forget, registered, registry_file

    known = registered()
    if args.name not in known:
        have = ", ".join(known) or "none"
        hint = near_miss(args.name, tuple(known))
        raise ConfigError(f"{args.name!r} is no name of your own; there are: {have}.{hint}")
    forget(args.name)
    print(f"{args.name} is forgotten in {registry_file()}; {known[args.name].path} stays as it is")
    return 0
