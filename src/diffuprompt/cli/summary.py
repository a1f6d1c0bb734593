"""The small table that evaluate, report and demo print, aggregated as in the full report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffuprompt.cli.console import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffuprompt.report.load import Source


def summary(sources: Sequence[Source]) -> str:
    """Return one table a setting: mean accuracy in percent over seeds, and H where it exists.

    Raises:
        DataError: the records do not belong together (see `report.aggregate.build_sections`).
    """
    from diffuprompt.report.aggregate import build_sections
    from diffuprompt.report.names import METRICS

    blocks = []
    for section in build_sections(sources):
        header = ["", *(METRICS[metric] for metric in section.metrics)]
        rows = [[row.name, *map(row.mean, section.metrics)] for row in section.rows]
        seeds = ", ".join(map(str, section.seeds))
        blocks.append(
            f"{section.setting.title}, seed {seeds}: accuracy in %\n\n{table(header, rows)}"
        )
    return "\n\n".join(blocks)
