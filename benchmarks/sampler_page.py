"""The tables and the figure of `benchmarks.samplers`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffuprompt.report import BLUE, GREY, ORANGE, WIDTH, style, to_svg


@dataclass(frozen=True)
class Table:
    """One kind of error (the attribute ``what``) of every sampler, over columns."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Any]]
    what: str

    def values(self, name: str) -> list[float]:
        """Return a row in per cent."""
        return [100 * getattr(cell, self.what) for cell in self.rows[name]]

    def markdown(self) -> str:
        """Return the table with the best of each column in bold."""
        numbers = {name: self.values(name) for name in self.rows}
        best = [
            min(v for v in column if not math.isnan(v))
            for column in zip(*numbers.values(), strict=True)
        ]
        lines = [
            f"### {self.title}",
            "",
            "| sampler | " + " | ".join(self.columns) + " |",
            "| --- |" + " ---: |" * len(self.columns),
        ]
        for name, values in numbers.items():
            cells = [_cell(v, v == b) for v, b in zip(values, best, strict=True)]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def _cell(value: float, best: bool) -> str:
    if math.isnan(value):
        return "–"
    text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
    return f"**{text}**" if best else text


def chart(nfes: Sequence[int], tables: Sequence[Table], front: Sequence[str]) -> str:
    """Return an SVG with a panel per table: error over evaluations, both logarithmic.

    Args:
        nfes: the columns.
        tables: what to draw.
        front: the samplers to show in colour; of the others the three best at 5 are named.
    """
    from matplotlib.figure import Figure

    with style("samplers"):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        for axis, table in zip(figure.subplots(1, len(tables)), tables, strict=True):
            five = nfes.index(5)
            rest = [n for n in table.rows if n not in front and table.values(n)[five] < 100]
            named = sorted(rest, key=lambda n: table.values(n)[five])[:3]
            colours = dict(zip(front, (ORANGE, BLUE), strict=True))
            for name in [*rest, *front]:
                shown = {"label": name} if name in (*named, *front) else {}
                axis.plot(
                    nfes,
                    table.values(name),
                    marker=("s", "^", "v")[named.index(name)] if name in named else "o",
                    ms=3.5 if shown else 0,
                    lw=1.8 if name in front else 0.9,
                    color=colours.get(name, GREY),
                    alpha=1 if shown else 0.4,
                    **shown,
                )
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_ylim(0.15, 150)
            ticks = (0.3, 1, 3, 10, 30, 100)
            axis.set_yticks(ticks, [f"{t:g} %" for t in ticks])
            axis.set_xticks(nfes, [str(n) for n in nfes])
            axis.minorticks_off()
            axis.set_xlabel("evaluations")
            axis.set_title(table.title, fontsize=8.5)
            axis.legend(frameon=False, fontsize=7.5, loc="lower left")
        return to_svg(figure)
