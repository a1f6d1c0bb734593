"""The small table that evaluate, report and demo print, aggregated as in the full report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffuprompt.cli.console import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffuprompt.report import Source


def summary(sources: Sequence[Source]) -> str:
    """Return one table per setting: means over seeds of the accuracy and of H.

    Raises:
        DataError: the records do not belong together (see `report.build_sections`).
    """
    from diffuprompt.report import OTHER_SETS, build_sections, metric_name, other_sets_table, plain

    blocks = []
    for section in build_sections(sources):
        header = ["", *(metric_name(metric) for metric in section.metrics)]
        shown = (*section.rows, *section.judged)
        rows = [[row.name, *map(row.mean, section.metrics)] for row in shown]
        seeds = ", ".join(map(str, section.seeds))
        own = table(header, rows) if section.metrics else "its own test set is not scored yet"
        blocks.append(f"{section.setting.title}, seed {seeds}: accuracy in %\n\n{own}")
        others = other_sets_table(section, is_whole=True)
        if others is not None:
            cells = [[plain(cell) for cell in row] for row in others.rows]
            blocks.append(f"{OTHER_SETS.lower()}: accuracy in %\n\n{table(others.columns, cells)}")
    return "\n\n".join(blocks)
