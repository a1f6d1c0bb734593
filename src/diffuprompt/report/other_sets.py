"""The table of other test sets than the job's own: one training, scored in many places."""

from __future__ import annotations

import numpy as np

from diffuprompt.report.aggregate import Section
from diffuprompt.report.rows import Row, TestSet
from diffuprompt.report.tables import Cell, Number, Table

OTHER_SETS = "Other test sets"
CAPTION = (
    "Accuracy in per cent on test sets of other data, mean ± population standard deviation "
    "(ddof 0) over the seeds of the main table; a method needs a score of each of them."
)


def other_sets_table(section: Section) -> Table | None:
    """One row per method and one column per test set; None where only the own one was scored."""
    rows = [row for row in section.rows if row.elsewhere]
    sets = sorted({test_set for row in rows for test_set in row.elsewhere})
    if not sets:
        return None
    return Table(
        columns=("Method", *(f"{dataset} ({part})" for dataset, part in sets)),
        rows=tuple((row.name, *(_cell(row, test_set) for test_set in sets)) for row in rows),
        caption=CAPTION,
    )


def _cell(row: Row, test_set: TestSet) -> Cell:
    found = row.elsewhere.get(test_set, {})
    if not set(row.seeds) <= found.keys():
        return None
    values = np.array([found[seed] for seed in row.seeds])
    spread = float(values.std()) if len(values) > 1 else None
    return Number(value=float(values.mean()), spread=spread)
