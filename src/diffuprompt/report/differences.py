"""The table of paired differences."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.report.compare import Comparison, difference
from diffuprompt.report.names import METRICS
from diffuprompt.report.tables import Cell, Table


def differences_table(comparisons: Sequence[Comparison]) -> Table:
    """One row per comparison: mean difference with interval, seeds won, images gained and lost."""
    metrics = [m for m in METRICS if any(m in c.intervals for c in comparisons)]
    last = "h" if "h" in metrics else metrics[0]
    subsets = [m for m in metrics if m != "h"]
    rows: list[tuple[Cell, ...]] = []
    for c in comparisons:
        signs = c.seed_signs.get(last)
        row: list[Cell] = [c.a.name, c.against]
        row += [difference(c.intervals.get(m)) for m in metrics]
        row.append(None if signs is None else f"{signs.wins} / {signs.ties} / {signs.losses}")
        for subset in subsets:
            image = c.image_signs.get(subset)
            row.append(None if image is None else f"+{image.wins} −{image.losses}")
        rows.append(tuple(row))
    columns = (
        "Method",
        "minus",
        *(METRICS[m] for m in metrics),
        f"Seeds + / = / − ({METRICS[last]})",
        *(f"{METRICS[s]} images" for s in subsets),
    )
    caption = (
        "Paired differences in points with 95 % bootstrap intervals over seeds and images. "
        "Seeds: won, tied, lost. Images: answers that only the first (+) or only the second (−) "
        "got right, over all seeds."
    )
    return Table(columns=columns, rows=tuple(rows), caption=caption)
