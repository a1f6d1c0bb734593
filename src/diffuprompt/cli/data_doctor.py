"""`diffuprompt data doctor`: what is there of each published data set, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffuprompt.cli.parse import Positional
from diffuprompt.errors import DataError

if TYPE_CHECKING:
    from diffuprompt.data import Inspection

EXAMPLES = """
diffuprompt data doctor
diffuprompt data doctor imagenet imagenet_a
diffuprompt data doctor dtd --data-root ~/data
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Count the files of data sets against the official counts, and say what to do."""

    names: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    """Names of the catalog or your own; without any, all of the catalog in one table."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder that holds the published data sets, in the place of DIFFUPROMPT_DATA."""


def run(args: Args) -> int:
    """Print what was found; 3 when a data set that was asked for cannot be used."""
    from diffuprompt.data import CATALOG, USABLE, inspect_dataset, registered

    names = dict.fromkeys(args.names or (*CATALOG, *registered()))
    found = [inspect_dataset(name, args.data_root) for name in names]
    if not args.names:
        print(overview(found))
        print("'diffuprompt data doctor NAME' says where was looked and what to do")
        return 0
    print("\n\n".join(described(one) for one in found))
    return 0 if all(one.state in USABLE for one in found) else DataError.exit_code


def overview(found: list[Inspection]) -> str:
    """Return one line for each data set: files that are there, of how many officially."""
    from diffuprompt.cli.console import table

    rows = [
        [one.name, one.state, one.classes or "", *_cells(one), "" if one.root is None else one.root]
        for one in found
    ]
    return table(["data set", "state", "classes", "train", "val", "test", "images"], rows)


def _cells(one: Inspection) -> list[str]:
    """Return the files in train, val and test: "4128", or "4000 of 4128" where some are missing."""
    if not one.counts:
        return ["", "", ""]
    cells = []
    for count in one.counts:
        whole = max(count.listed, count.official or 0)
        cells.append(
            f"{count.there} of {whole}" if count.there < whole else f"{count.there or '-'}"
        )
    return cells


def described(one: Inspection) -> str:
    """Return everything about one data set, several lines."""
    from diffuprompt.data import CATALOG

    lines = [f"{one.name}: {one.state}"]
    if one.counts:
        lines.append(overview([one]))
    lines += [f"- {problem}" for problem in one.problems]
    if one.name in CATALOG:
        entry = CATALOG[one.name]
        known = entry.provenance
        sizes = " / ".join(str(size or "-") for size in entry.sizes)
        lines += [
            f"  officially   {entry.num_classes} classes, train / val / test {sizes}",
            f"  described in {known.described}",
            f"  licence      {known.licence}",
            f"  class names  {known.names}",
        ]
    return "\n".join(lines)
