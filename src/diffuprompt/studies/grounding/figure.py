"""The figure of the grounding study: R@1 of every row in every world, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffuprompt.report import BLUE, GREY, ORANGE, WIDTH, style, to_svg
from diffuprompt.studies.grounding.design import FROZEN, METHODS, OURS, Entry, Group
from diffuprompt.studies.grounding.findings import WorldFindings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: dict[Group, str] = {"frozen": GREY, "ours": ORANGE, "control": GREY, "rival": BLUE}
DIGITS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class RecallFigure:
    """R@1 with intervals and a tick for each seed, one panel per world; `report`'s ``Figure``."""

    found: Sequence[WorldFindings]
    name: str = "grounding-recall"
    alt: str = "R@1 of every method in every world, with 95 % intervals"

    @property
    def numbers(self) -> dict[str, Any]:
        """World -> row -> mean, ends and seeds; a row without a record has none."""
        return {found.world.name: _numbers(found) for found in self.found}

    def draw(self) -> str:
        """Return an ``<svg>`` element; raises `ConfigError` when matplotlib is not installed."""
        numbers = self.numbers
        with style(self.name):
            from matplotlib.figure import Figure

            height = 0.8 + 0.24 * len(METHODS)
            figure = Figure(figsize=(WIDTH, height), layout="constrained")
            axes = figure.subplots(1, len(self.found), sharey=True, squeeze=False)[0]
            for axis, found in zip(axes, self.found, strict=True):
                _panel(axis, found.world.title, numbers[found.world.name])
            axes[0].set_yticks(range(len(METHODS)), [_label(entry) for entry in METHODS])
            axes[0].set_ylim(len(METHODS) - 0.4, -0.6)
            return to_svg(figure)


def _numbers(found: WorldFindings) -> dict[str, Any]:
    out = {}
    for entry in METHODS:
        mean = found.mean(entry.key, "r1")
        if mean is not None:
            seeds = found.own.seeds(found.rows[entry.key], "r1")
            each = {"mean": mean.estimate, "low": mean.low, "high": mean.high}
            out[entry.key] = {name: round(value, DIGITS) for name, value in each.items()} | {
                "seeds": [round(value, DIGITS) for value in seeds]
            }
    return out


def _panel(axis: Axes, title: str, numbers: dict[str, Any]) -> None:
    frozen = numbers.get(FROZEN)
    if frozen is not None:
        axis.axvline(frozen["mean"], color=GREY, lw=0.9, ls=":")
    for y, entry in enumerate(METHODS):
        each = numbers.get(entry.key)
        if each is None:
            axis.text(2, y, "missing", va="center", size=7.5, alpha=0.7)
            continue
        colour = COLOURS[entry.group]
        ends = [each["low"], each["high"]]
        axis.plot(ends, [y, y], color=colour, lw=2.2, solid_capstyle="round")
        if len(each["seeds"]) > 1:
            axis.plot(each["seeds"], [y + 0.27] * len(each["seeds"]), "|", ms=4, mec=colour)
        size = 5.5 if entry.key == OURS else 4
        axis.plot(each["mean"], y, "o", ms=size, mfc=colour, mec="white", mew=0.8)
    axis.set_title(title)
    axis.set_xlim(0, 100)
    axis.set_xlabel("R@1, per cent")


def _label(entry: Entry) -> str:
    return f"– {entry.title}" if entry.group == "control" else entry.title
