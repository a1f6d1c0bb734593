"""The figure of a sweep: accuracy on the left, what it costs on the right."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from diffuprompt.report import BLUE, GREY, ORANGE, WIDTH, style, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 3.1  # inches
COLOURS = (BLUE, ORANGE, "#009E73", GREY)
MARKERS = ("o", "s", "^", "d")


@dataclass(frozen=True, kw_only=True)
class SweepFigure:
    """A `report.extension.Figure` of one sweep.

    ``lines`` map a name to ``(x, mean, std)`` points of accuracy, ``costs`` to ``(x, cost)``.
    """

    name: str
    alt: str
    x: str
    cost: str
    log_x: bool
    lines: dict[str, tuple[tuple[float, float, float], ...]]
    costs: dict[str, tuple[tuple[float, float], ...]]

    @property
    def numbers(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def draw(self) -> str:
        """Return the figure as SVG; raises `ConfigError` when matplotlib is not installed."""
        with style(self.name):
            from matplotlib.figure import Figure

            canvas = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
            accuracy, cost = canvas.subplots(1, 2, width_ratios=(3, 2))
            for i, (name, points) in enumerate(self.lines.items()):
                x, mean, std = zip(*points, strict=True)
                low = [m - s for m, s in zip(mean, std, strict=True)]
                high = [m + s for m, s in zip(mean, std, strict=True)]
                accuracy.fill_between(x, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
                accuracy.plot(x, mean, color=COLOURS[i], marker=MARKERS[i], ms=4, label=name)
            for i, (name, pairs) in enumerate(self.costs.items()):
                x, value = zip(*pairs, strict=True)
                cost.plot(x, value, color=COLOURS[-1 - i], marker=MARKERS[i], ms=4, label=name)
            _finish(accuracy, self, "accuracy, per cent")
            _finish(cost, self, self.cost)
            cost.set_ylim(bottom=0)
            return to_svg(canvas)


def _finish(axis: Axes, figure: SweepFigure, y: str) -> None:
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
