"""Which expressions are shown: a rule with a fixed seed, so that nobody picks them by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

SEED = 1
EACH = 2  # examples of a kind that are found, and of those that are missed
# How Diff-Prompt's paper calls reasons of failure; which is which is our reading of it.
KINDS = {
    "plain": "plain: its own name (object)",
    "extreme": "extreme: its place or size among others (position)",
    "relation": "relation: its place beside another object (language)",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One expression of a test set.

    Attributes:
        row: its place in the set.
        kind: its kind.
        found: whether its best box is a good one.
    """

    row: int
    kind: str
    found: bool


def choose(kinds: Sequence[str], ranks: Sequence[int], *, each: int = EACH) -> tuple[Choice, ...]:
    """Return examples of every kind, those that were found before those that were not.

    Of those that qualify, the first ones in the order of a hash of seed and place are taken: the
    choice of one kind depends on no other, and there are fewer where fewer qualify.

    Args:
        kinds: of each expression.
        ranks: place of each expression's first good box, from 0; -1 for none.
        each: examples of one kind and outcome.
    """
    names = [*(k for k in KINDS if k in kinds), *sorted(set(kinds) - set(KINDS))]
    order = sorted(range(len(ranks)), key=_hash)
    out = []
    for kind in names:
        for found in (True, False):
            rows = [i for i in order if kinds[i] == kind and (ranks[i] == 0) == found]
            out += [Choice(row=row, kind=kind, found=found) for row in rows[:each]]
    return tuple(out)


def _hash(row: int) -> bytes:
    return hashlib.sha256(f"{SEED} {row}".encode()).digest()
