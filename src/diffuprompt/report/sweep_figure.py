"""The figure of a sweep: accuracy on the left, what it costs on the right."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from diffuprompt.report.figures import BLUE, GREY, ORANGE, WIDTH, style, to_svg
from diffuprompt.report.study import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 3.1  # inches
INK = "#1f2328"  # of text in a file, which has no page around it to take its colour from
COLOURS = (BLUE, ORANGE, "#009E73", GREY)
MARKERS = ("o", "s", "^", "d")
STAMP = "data-sha256"


def draw(figure: Figure) -> str:
    """Return the figure as SVG; raises `ConfigError` when matplotlib is not installed."""
    with style(figure.name):
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(WIDTH, HEIGHT), layout="constrained")
        accuracy, cost = canvas.subplots(1, 2, width_ratios=(3, 2))
        for i, (name, points) in enumerate(figure.lines.items()):
            x, mean, std = zip(*points, strict=True)
            low = [m - s for m, s in zip(mean, std, strict=True)]
            high = [m + s for m, s in zip(mean, std, strict=True)]
            accuracy.fill_between(x, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
            accuracy.plot(x, mean, color=COLOURS[i], marker=MARKERS[i], ms=4, label=name)
        for i, (name, pairs) in enumerate(figure.costs.items()):
            x, value = zip(*pairs, strict=True)
            cost.plot(x, value, color=COLOURS[-1 - i], marker=MARKERS[i], ms=4, label=name)
        _finish(accuracy, figure, "accuracy, per cent")
        _finish(cost, figure, figure.cost)
        cost.set_ylim(bottom=0)
        return to_svg(canvas)


def _finish(axis: Axes, figure: Figure, y: str) -> None:
    axis.grid(axis="both")
    axis.set_xlabel(figure.x)
    axis.set_ylabel(y)
    ticks = sorted({x for points in figure.lines.values() for x, _, _ in points})
    if figure.log_x:
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)


def file_text(figure: Figure) -> str:
    """Return the figure as an SVG file of its own, stamped with the hash of its numbers."""
    svg = draw(figure).replace("currentColor", INK)
    stamp = f'<svg {STAMP}="{digest(figure)}" style="background:#ffffff" '
    return svg.replace("<svg ", stamp, 1)


def digest(figure: Figure) -> str:
    """Return a hash of all that is drawn; another version of matplotlib does not change it."""
    return hashlib.sha256(json.dumps(asdict(figure), sort_keys=True).encode()).hexdigest()


def is_current(path: Path, figure: Figure) -> bool:
    """Whether a file was drawn of just these numbers; needs no matplotlib."""
    return path.is_file() and f'{STAMP}="{digest(figure)}"' in path.read_text(encoding="utf-8")
