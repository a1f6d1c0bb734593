"""The figure of a curve: accuracy over shots or severities, one line a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from diffuprompt.report.figures import WIDTH, label, style, to_svg
from diffuprompt.report.files import figure_name
from diffuprompt.report.stats import Floats

HEIGHT = 3.6  # inches, where the names of the lines do not take more
NAME_HEIGHT = 0.19  # inches of one name in the legend
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#9aa0a8")
DASHES = ("-", "--", ":", "-.")

Points = tuple[tuple[float, float, float], ...]  # x, mean and standard deviation over seeds


@dataclass(frozen=True, kw_only=True)
class CurveFigure:
    """A `report.extension.Figure` of some lines; ``lines`` are names and points."""

    name: str
    alt: str
    x: str
    log_x: bool
    lines: tuple[tuple[str, Points], ...]

    def __post_init__(self) -> None:
        """Make the name one that a file can have."""
        object.__setattr__(self, "name", figure_name(self.name))

    @property
    def numbers(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def draw(self) -> str:
        """Return the figure as SVG; raises `ConfigError` when matplotlib is not installed."""
        with style(self.name):
            from matplotlib.figure import Figure

            height = max(HEIGHT, NAME_HEIGHT * (len(self.lines) + 2))
            canvas = Figure(figsize=(WIDTH, height), layout="constrained")
            axis = canvas.subplots()
            for i, (name, points) in enumerate(self.lines):
                x, mean, std = zip(*points, strict=True)
                colour = COLOURS[i % len(COLOURS)]
                low = [m - s for m, s in zip(mean, std, strict=True)]
                high = [m + s for m, s in zip(mean, std, strict=True)]
                axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
                dash = DASHES[i // len(COLOURS) % len(DASHES)]
                axis.plot(x, mean, color=colour, ls=dash, marker="o", ms=4, label=label(name))
            axis.grid(axis="both")
            axis.set_xlabel(self.x)
            axis.set_ylabel("accuracy, per cent")
            ticks = sorted({x for _, points in self.lines for x, _, _ in points})
            if self.log_x:
                axis.set_xscale("log", base=2)
                axis.minorticks_off()
            axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
            return to_svg(canvas)


def make_points(values: Mapping[int, Floats | None]) -> Points:
    """Return the points of a line from the values of seeds at each place; gaps are left out."""
    known = {x: v for x, v in values.items() if v is not None}
    return tuple((float(x), float(v.mean()), float(v.std())) for x, v in sorted(known.items()))
