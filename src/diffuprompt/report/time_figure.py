"""What a method takes to train against what it gives: a point for each, a table by time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from diffuprompt.report.aggregate import Section
from diffuprompt.report.costs import usual_device
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.figures import WIDTH, label, row_colour, style, to_svg
from diffuprompt.report.files import figure_name
from diffuprompt.report.names import is_control
from diffuprompt.report.tables import Number, Table

MEASURE = "h"
FEWEST = 3  # methods that make a figure
SHORTEST = 0.01  # seconds: what takes less stands there, on an axis of logarithms
HEIGHT = 4.4  # inches
CAPTION = (
    "H against wall seconds of training (learner, overfitting and generator; prompt-free image "
    "features at hand), means over seeds, the fastest first. Bold: no faster method is better."
)
ELSEWHERE = " Left out, since timed on another device than the rest ({usual}): {names}."


@dataclass(frozen=True, kw_only=True)
class Point:
    """A method: seconds of training, H in per cent, the colour of its role, and the device."""

    method: str
    seconds: float
    h: float
    colour: str
    timed_on: str = ""


@dataclass(frozen=True, kw_only=True)
class TimeFigure:
    """A `report.extension.Figure` of methods by what they take and give."""

    name: str
    alt: str
    points: tuple[Point, ...]

    @property
    def numbers(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def draw(self) -> str:
        """Return the figure as SVG; raises `ConfigError` when matplotlib is not installed."""
        with style(self.name):
            from matplotlib.figure import Figure

            canvas = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
            axis = canvas.subplots()
            axis.set_xscale("log")
            for point in self.points:
                at = (max(point.seconds, SHORTEST), point.h)
                axis.plot(*at, "o", ms=5.5, color=point.colour)
                axis.annotate(
                    label(point.method), at, (5, 3), textcoords="offset points", fontsize=7.5
                )
            front = _front(self.points)
            axis.step(
                [max(point.seconds, SHORTEST) for point in front],
                [point.h for point in front],
                where="post",
                color="#9aa0a8",
                lw=0.9,
                zorder=0,
            )
            axis.grid(axis="both")
            axis.margins(x=0.12)
            axis.set_xlabel("seconds of training")
            axis.set_ylabel("H, per cent")
            return to_svg(canvas)


def time_part(section: Section) -> SectionPart | None:
    """Return the methods of a section by their seconds of training; None where few say both.

    Seconds of several devices do not compare: only those of the one that most ran on are there.
    """
    every = sorted(_points(section), key=lambda point: (point.seconds, -point.h))
    usual = usual_device([point.timed_on for point in every])
    points = tuple(point for point in every if point.timed_on == usual)
    others = ", ".join(point.method for point in every if point.timed_on != usual)
    if len(points) < FEWEST:
        return None
    setting, front = section.setting, _front(points)
    rows = tuple(
        (
            point.method,
            Number(value=point.seconds, digits=1),
            Number(value=point.h, best=point in front),
        )
        for point in points
    )
    caption = CAPTION + (ELSEWHERE.format(usual=usual, names=others) if others else "")
    table = Table(columns=("Method", "Training s", "H"), rows=rows, caption=caption)
    figure = TimeFigure(
        name=figure_name(f"time {setting.title}"),
        alt=f"H against seconds of training, {setting.title}",
        points=points,
    )
    return SectionPart(heading="H against seconds of training", table=table, figure=figure)


def _points(section: Section) -> Iterator[Point]:
    for row in section.main:
        seconds, h = row.costs.train_s, row.mean(MEASURE)
        if seconds is not None and h is not None and not is_control(row.variant):
            place = row.costs.timed_on
            yield Point(
                method=row.name, seconds=seconds, h=h, colour=row_colour(row), timed_on=place
            )


def _front(points: tuple[Point, ...]) -> list[Point]:
    """Return those of points in order of time that are better than all before them."""
    out: list[Point] = []
    for point in points:
        if not out or point.h > out[-1].h:
            out.append(point)
    return out
