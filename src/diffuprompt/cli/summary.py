"""The small table that evaluate, report and demo print, aggregated as in the full report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffuprompt.cli.console import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffuprompt.report.load import Source


def summary(sources: Sequence[Source]) -> str:
    """Return one table per setting: means over seeds, in classification of the accuracy and of H.

    Raises:
        DataError: the records do not belong together (see `report.aggregate.build_sections`).
    """
    from diffuprompt.report.aggregate import build_sections
    from diffuprompt.report.names import metric_name
    from diffuprompt.report.other_sets import HEADING, other_sets_table
    from diffuprompt.report.tables import plain

    blocks = []
    for section in build_sections(sources):
        header = ["", *(metric_name(metric) for metric in section.metrics)]
        rows = [[row.name, *map(row.mean, section.metrics)] for row in section.rows]
        seeds = ", ".join(map(str, section.seeds))
        unit = ": accuracy in %" if section.setting.task == "classification" else ""
        blocks.append(f"{section.setting.title}, seed {seeds}{unit}\n\n{table(header, rows)}")
        others = other_sets_table(section)
        if others is not None:
            cells = [[plain(cell) for cell in row] for row in others.rows]
            blocks.append(f"{HEADING.lower()}: accuracy in %\n\n{table(others.columns, cells)}")
    return "\n\n".join(blocks)
