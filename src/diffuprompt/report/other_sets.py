"""Other test sets than the job's own: one training, scored in many places.

The layout of the field's cross-dataset and domain tables: the source, the targets, their average.
Corrupted test sets, whose names end with a kind and a severity, have tables of their own, see
`report.severities`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from diffuprompt.data import CATALOG
from diffuprompt.report.aggregate import Section
from diffuprompt.report.rows import Row, TestSet
from diffuprompt.report.severities import corrupted
from diffuprompt.report.stats import Floats
from diffuprompt.report.tables import Cell, Number, Table

OTHER_SETS = "Other test sets"
SOURCE = "all"  # the part of the job's own test set that targets stand beside
CAPTION = (
    "Accuracy in per cent on test sets of other data, mean ± population standard deviation "
    "(ddof 0) over the seeds of the main table; a method needs a score of each of them."
)
WITH_AVERAGE = " Average: of these test sets, the source aside; its ± is of the seeds' averages."


def other_sets_table(section: Section, *, is_whole: bool = False) -> Table | None:
    """One row per method and one column per test set; None where only the own one was scored.

    The source stands first where all of its classes were scored, the average last where the same
    part of at least two test sets was. ``is_whole`` shows corrupted test sets too.
    """
    found = {test_set for row in _rows(section) for test_set in row.elsewhere}
    sets = in_order(found) if is_whole else targets(section)
    rows = [row for row in _rows(section) if any(s in row.elsewhere for s in sets)]
    if not sets:
        return None
    harmed = corrupted(found)
    alike = len({(part, (name, part) in harmed) for name, part in sets}) == 1
    averaged = len(sets) > 1 and alike
    has_source = any(SOURCE in row.per_seed for row in rows)
    source = (f"{section.setting.dataset} (source)",) if has_source else ()
    average = ("Average",) if averaged else ()
    names = tuple(f"{dataset} ({part})" for dataset, part in sets)
    return Table(
        columns=("Method", *source, *names, *average),
        rows=tuple(
            (
                row.name,
                *([spread(row.per_seed.get(SOURCE))] if source else []),
                *(spread(mean_over(row, [test_set])) for test_set in sets),
                *([spread(mean_over(row, sets))] if average else []),
            )
            for row in rows
        ),
        caption=CAPTION + (WITH_AVERAGE if averaged else ""),
    )


def targets(section: Section) -> list[TestSet]:
    """Return the other test sets of a section, as the field orders them; none that is corrupted."""
    found = {test_set for row in _rows(section) for test_set in row.elsewhere}
    return in_order(found - corrupted(found).keys())


def _rows(section: Section) -> tuple[Row, ...]:
    return (*section.rows, *section.judged)


def in_order(sets: Iterable[TestSet]) -> list[TestSet]:
    """Return test sets as the field orders them."""
    known = list(CATALOG)
    return sorted(sets, key=lambda s: (_place(s[0], known), s))


def _place(name: str, known: Sequence[str]) -> int:
    return known.index(name) if name in known else len(known)


def mean_over(row: Row, sets: Sequence[TestSet]) -> Floats | None:
    """Return ``(S,)`` averages over test sets; None unless every seed has a score of each."""
    found = [row.elsewhere.get(test_set, {}) for test_set in sets]
    if not found or not all(set(row.seeds) <= scores.keys() for scores in found):
        return None
    return np.array([np.mean([scores[seed] for scores in found]) for seed in row.seeds])


def spread(values: Floats | None) -> Cell:
    """Return mean and standard deviation over seeds as a cell."""
    if values is None:
        return None
    std = float(values.std()) if len(values) > 1 else None
    return Number(value=float(values.mean()), spread=std)
