"""The layout of leave-one-domain-out tables: several trainings, each tested on what it never saw.

A column is the one other test set of a training, a row a method over all trainings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffuprompt.protocols import PROTOCOLS
from diffuprompt.report.aggregate import Section
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.other_sets import mean_over, spread, targets
from diffuprompt.report.rows import TestSet
from diffuprompt.report.shot_curves import methods
from diffuprompt.report.stats import Floats
from diffuprompt.report.tables import Cell, Table

CAPTION = (
    "Accuracy in per cent on the test set that a training never saw, each training with a column "
    "of its own ({trainings}); mean ± population standard deviation (ddof 0) over seeds. Average: "
    "of the columns, a method needs all; its ± is of the seeds' averages."
)


def left_out_part(sections: Sequence[Section], about: str) -> SectionPart | None:
    """Return the table of sections that have one other test set each, all different ones.

    None unless these are all sections, at least two, of a protocol whose tables are of targets:
    elsewhere a score on another test set is an addition, and the job's own is the result.
    """
    protocols = (PROTOCOLS.get(section.setting.protocol) for section in sections)
    if not all(protocol is not None and protocol.layout.targets for protocol in protocols):
        return None
    found: dict[TestSet, Section] = {}
    for section in sections:
        sets = targets(section)
        if len(sets) == 1 and sets[0] not in found:
            found[sets[0]] = section
    if len(found) < 2 or len(found) < len(sections):
        return None
    named = {test_set: methods(section) for test_set, section in found.items()}
    names = dict.fromkeys(name for rows in named.values() for name in rows)
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        each = [
            mean_over(of[name], [test_set]) if name in of else None
            for test_set, of in named.items()
        ]
        rows.append((name, *map(spread, each), spread(_average(each))))
    trainings = ", ".join(section.setting.dataset for section in found.values())
    columns = ("Method", *(dataset for dataset, _ in found), "Average")
    table = Table(columns=columns, rows=tuple(rows), caption=CAPTION.format(trainings=trainings))
    return SectionPart(heading=f"Each test set left out · {about}", table=table)


def _average(each: Sequence[Floats | None]) -> Floats | None:
    known = [values for values in each if values is not None]
    same = len(known) == len(each) and len({len(values) for values in known}) == 1
    return np.mean(known, axis=0) if same else None
