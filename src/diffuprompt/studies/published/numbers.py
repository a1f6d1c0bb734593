"""What is published of each learner, without and with prompt diffusion, as printed.

All numbers are of CLIP ViT-B/16. ``base_to_new.csv`` and ``targets.csv`` hold the rows: "Table N"
is a table of Prompt Diffusion (arXiv 2410.20164), whose rows without diffusion repeat the learners'
own papers (Table 7 prints averages only); "authors" are rows of the CLIP, CoOp and CoCoOp papers
that it does not have.
``misprints.csv`` names the printed numbers that contradict others of the same table, what fits, and
why. The data sets have the names of the catalog; "average" is the mean of those of a row, for
`targets` without the source.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

BASE_TO_NEW, AVERAGE = "base-to-new", "average"
SHOTS = 16  # of base to new
PARTS = ("base", "new", "h")


@dataclass(frozen=True, kw_only=True, order=True)
class Key:
    """What a printed number is of."""

    protocol: str
    shots: int
    dataset: str
    learner: str
    generator: str
    part: str  # "base", "new", "h", or "accuracy" of all classes


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number as printed, in per cent.

    ``source`` says where; ``misprint`` what contradicts it, empty for nearly all.
    """

    value: float
    source: str
    misprint: str = ""


@cache
def published() -> dict[Key, Printed]:
    """Return all numbers, in the order of the files."""
    wrong = {_key(row, row["column"]): f"{row['fits']} fits: {row['why']}" for row in _misprints()}
    out: dict[Key, Printed] = {}
    for row in _rows("base_to_new.csv"):
        base_to_new = {**row, "protocol": BASE_TO_NEW, "shots": str(SHOTS)}
        for part in PARTS:
            key = _key(base_to_new, part)
            out[key] = _printed(row, row[part], wrong.get(key, ""))
    for row in _rows("targets.csv"):
        key = _key(row, "accuracy")
        out[key] = _printed(row, row["accuracy"], wrong.get(key, ""))
    return out


def _misprints() -> Iterator[dict[str, str]]:
    return _rows("misprints.csv")


def _printed(row: dict[str, str], value: str, misprint: str) -> Printed:
    return Printed(value=float(value), source=row["source"], misprint=misprint)


def _key(row: dict[str, str], part: str) -> Key:
    names = {name: row[name] for name in ("protocol", "dataset", "learner", "generator")}
    return Key(**names, shots=int(row["shots"]), part=part)


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())
