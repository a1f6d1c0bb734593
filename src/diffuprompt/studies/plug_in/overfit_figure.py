"""The figure of overfitting: how far each step goes, and in how few directions all of them.

Made of the statistics ``overfit_ce_step_k`` and ``overfit_energy_rank_r`` of records; records
without them, as of jobs without a generator, are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from diffuprompt.record import Record
from diffuprompt.report import WIDTH, Appendix, learner_name, style, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP, RANK = "overfit_ce_step_", "overfit_energy_rank_"
HEIGHT = 3.0  # inches
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#9aa0a8")
CAPTION = (
    "Left: median cross-entropy after each step of overfitting, over the classes that it was done "
    "for. Right: share of |V* - V0|^2 over all images that the best subspace of so many dimensions "
    "holds. Means over jobs."
)


def overfit_figures(records: Sequence[Record]) -> dict[str, str]:
    """Return an SVG per data set and backbone that has numbers to show, by its title."""
    groups: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if any(key.startswith(RANK) for key in record.statistics):
            job = record.job
            line = learner_name(job.learner) + (f" ({job.setting})" if job.setting else "")
            groups[f"{job.dataset} · {job.backbone}"][line].append(record)
    return {title: _draw(title, lines) for title, lines in sorted(groups.items())}


def overfit_appendix(records: Sequence[Record]) -> Appendix | None:
    """Return the figures as a section of the page; None where no record has numbers to show."""
    figures = overfit_figures(records)
    if not figures:
        return None
    return Appendix(heading="What overfitting changed", figures=figures, caption=CAPTION)


def _draw(title: str, lines: dict[str, list[Record]]) -> str:
    with style(f"overfit {title}"):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        steps, ranks = figure.subplots(1, 2)
        for i, (name, records) in enumerate(sorted(lines.items())):
            look = {
                "color": COLOURS[i % len(COLOURS)],
                "linestyle": ("-", "--", ":")[i // len(COLOURS) % 3],
                "marker": "o",
                "ms": 3,
                "label": name,
            }
            steps.plot(*_means(records, STEP), **look)
            ranks.plot(*_means(records, RANK), **look)
        _name(steps, "gradient steps", "cross-entropy")
        _name(ranks, "dimensions", "share of the change")
        steps.set_ylim(bottom=0)
        ranks.set_ylim(0, 1.02)
        ranks.set_xscale("log", base=2)
        ticks = sorted({x for records in lines.values() for x in _means(records, RANK)[0]})
        ranks.set_xticks(ticks, [str(x) for x in ticks])
        ranks.minorticks_off()
        steps.legend(frameon=False, fontsize=8)
        return to_svg(figure)


def _means(records: Sequence[Record], prefix: str) -> tuple[list[int], list[float]]:
    """Return numbers behind ``prefix`` and the mean of what records say under them."""
    values: dict[int, list[float]] = defaultdict(list)
    for record in records:
        for key, value in record.statistics.items():
            if key.startswith(prefix):
                values[int(key.removeprefix(prefix))].append(value)
    return sorted(values), [fmean(values[x]) for x in sorted(values)]


def _name(axis: Axes, x: str, y: str) -> None:
    axis.grid(axis="both")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
