"""Figures as SVG text that can stand alone or inside a page, the same bytes for the same numbers.

Text is kept as text and takes the colour around it (``currentColor``), so that figures follow a
page's light or dark theme. Hues are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from diffuprompt.errors import ConfigError
from diffuprompt.printable import printable
from diffuprompt.report.aggregate import Section
from diffuprompt.report.compare import Comparison
from diffuprompt.report.names import METRICS, OWN, is_control, is_oracle, metric_name, needs_images
from diffuprompt.report.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 60  # characters of a label
INK = "#010203"  # replaced by currentColor
FAINT = "#8a8f98"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#9aa0a8"
WIDTH = 9.2  # inches; pages scale it to their column
SVG_FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@contextmanager
def style(name: str) -> Iterator[None]:
    """Apply the one figure style; ``name`` salts element ids, so figures can share a page.

    Raises `ConfigError` when matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError(
            "figures need matplotlib: pip install 'diffuprompt[report]', "
            "or ask only for csv and tex, and for md where no figure stands in it"
        ) from error
    settings: Any = {  # Any: matplotlib types its keys as one huge Literal
        "text.parse_math": False,  # a dollar in a name is a dollar
        "svg.hashsalt": name,
        "svg.fonttype": "none",
        "font.family": "DejaVu Sans",  # comes with matplotlib, so the layout is the same anywhere
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "axes.linewidth": 0.6,
        "xtick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.color": FAINT,
        "ytick.labelcolor": INK,
        "axes.grid": True,
        "axes.grid.axis": "x",
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "ytick.left": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }
    with mpl.rc_context(settings):
        yield


def label(name: str) -> str:
    """Return a name of a record as it fits beside an axis; tables and pages show it in full."""
    shown = printable(name)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def to_svg(figure: Figure) -> str:
    """Return an ``<svg>`` element without date, XML header, fixed fonts or clashing group ids."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = text.replace("'DejaVu Sans'", SVG_FONTS).replace(INK, "currentColor")
    return printable(text.rstrip()) + "\n"


def _panels(count: int, num_rows: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    height = 0.75 + 0.27 * num_rows
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    return figure, list(axes)


def row_colour(row: Row) -> str:
    """Return the hue of a row's role: untrained, own prompts, generated, control or oracle."""
    if not needs_images(row.learner) or is_control(row.variant):
        return GREY
    return BLUE if row.variant == OWN else ORANGE


def accuracy_bars(section: Section) -> str:
    """Return bars of the means with std whiskers and one dot per seed, one panel per measure."""
    rows, metrics = section.rows, section.metrics
    with style(f"bars {section.setting}"):
        figure, axes = _panels(len(metrics), len(rows))
        for axis, metric in zip(axes, metrics, strict=True):
            for y, row in enumerate(rows):
                _bar(axis, y, row, metric)
            axis.set_title(label(metric_name(metric)))
            axis.set_xlim(0, 100)
            axis.set_xlabel("per cent")
        _rows_down(axes[0], [row.name for row in rows])
        return to_svg(figure)


def _bar(axis: Axes, y: int, row: Row, metric: str) -> None:
    mean, std = row.mean(metric), row.std(metric)
    if mean is None:
        axis.text(1, y, "not measured", va="center", size=7.5, alpha=0.7)
        return
    colour, hollow = row_colour(row), is_oracle(row.variant)
    faint = is_control(row.variant)
    axis.barh(
        y,
        mean,
        height=0.66,
        facecolor="none" if hollow else colour,
        edgecolor=colour,
        alpha=0.6 if faint and not hollow else 0.9,
        linestyle="--" if hollow else "-",
        linewidth=0.9,
    )
    values = row.per_seed[metric]
    if std is not None:
        axis.errorbar(mean, y, xerr=std, color=INK, lw=1, capsize=2.2, capthick=1)
        offsets = np.linspace(-0.16, 0.16, len(values))
        axis.plot(values, y + offsets, "o", ms=2.6, mfc="white", mec=INK, mew=0.6)
    right = max([mean + (std or 0), *values]) + 2
    inside = right > 84
    axis.text(
        min(mean - (std or 0), *values, mean) - 2 if inside else right,
        y,
        f"{mean:.1f}",
        va="center",
        ha="right" if inside else "left",
        size=8,
        color=INK if hollow or not inside else "white",
    )


def _rows_down(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), [label(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)


def difference_forest(comparisons: Sequence[Comparison]) -> str:
    """Return paired differences with intervals, dots per seed, and one panel per measure."""
    metrics = [m for m in METRICS if any(m in c.intervals for c in comparisons)]
    several = len({c.a.name for c in comparisons}) > 1
    names = [f"{c.a.name} − {c.against}" if several else f"− {c.against}" for c in comparisons]
    salt = "forest " + " ".join(
        f"{c.a.learner} {c.a.variant.label} {c.against}" for c in comparisons
    )
    with style(salt):
        figure, axes = _panels(len(metrics), len(comparisons))
        for axis, metric in zip(axes, metrics, strict=True):
            axis.axvline(0, color=INK, lw=0.9, alpha=0.7)
            for y, comparison in enumerate(comparisons):
                _interval(axis, y, comparison, metric)
            axis.set_title(METRICS[metric])
            axis.set_xlabel("difference in points")
        _rows_down(axes[0], names)
        return to_svg(figure)


def _interval(axis: Axes, y: int, comparison: Comparison, metric: str) -> None:
    interval = comparison.intervals.get(metric)
    if interval is None:
        return
    clear = interval.low > 0 or interval.high < 0
    colour = (ORANGE if interval.estimate > 0 else BLUE) if clear else GREY
    axis.plot([interval.low, interval.high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
    values = comparison.per_seed[metric]
    if len(values) > 1:
        axis.plot(values, np.full(len(values), y + 0.27), "|", ms=5, mec=INK, mew=0.8, alpha=0.7)
    axis.plot(interval.estimate, y, "o", ms=6, mfc=colour, mec="white", mew=0.8)
