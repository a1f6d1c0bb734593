"""Outlines of the shapes: polygons in the unit square [-1, 1] x [-1, 1], y pointing down.

A shape is one outer polygon and possibly a hole; curves are polygons with many corners.
"""

from __future__ import annotations

from functools import cache
from math import cos, pi, sin

import numpy as np

from diffuprompt.data.scenes.attributes import SHAPES, check

Outline = tuple[np.ndarray, ...]

_CORNERS: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": [(0, -0.95), (1, 0.8), (-1, 0.8)],
    "diamond": [(0, -1), (0.68, 0), (0, 1), (-0.68, 0)],
    "trapezoid": [(-0.5, -0.65), (0.5, -0.65), (1, 0.65), (-1, 0.65)],
    "arrow": [
        (1, 0), (0.15, -0.8), (0.15, -0.32), (-1, -0.32), (-1, 0.32),
        (0.15, 0.32), (0.15, 0.8),
    ],
    "bolt": [(0.3, -1), (-0.65, 0.18), (-0.08, 0.18), (-0.35, 1), (0.65, -0.25), (0.05, -0.25)],
    "house": [
        (0, -1), (0.95, -0.15), (0.7, -0.15), (0.7, 0.9), (-0.7, 0.9),
        (-0.7, -0.15), (-0.95, -0.15),
    ],
    "crown": [
        (-1, -0.7), (-0.48, 0.02), (0, -0.9), (0.48, 0.02), (1, -0.7),
        (0.8, 0.75), (-0.8, 0.75),
    ],
    "cross": [
        (-0.32, -1), (0.32, -1), (0.32, -0.32), (1, -0.32), (1, 0.32), (0.32, 0.32),
        (0.32, 1), (-0.32, 1), (-0.32, 0.32), (-1, 0.32), (-1, -0.32), (-0.32, -0.32),
    ],
}  # fmt: skip


def _regular(num: int, radius: float = 1.0) -> list[tuple[float, float]]:
    angles = [-pi / 2 + 2 * pi * k / num for k in range(num)]
    return [(radius * cos(a), radius * sin(a)) for a in angles]


def _star() -> list[tuple[float, float]]:
    radii = [1.0, 0.42] * 5
    return [(r * x, r * y) for r, (x, y) in zip(radii, _regular(10), strict=True)]


def _heart() -> list[tuple[float, float]]:
    points = []
    for k in range(40):
        t = 2 * pi * k / 40
        y = 13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)
        points.append((sin(t) ** 3, -(y + 2.5) / 15.5))
    return points


def _crescent() -> list[tuple[float, float]]:
    outer = [(cos(a), sin(a)) for a in np.linspace(0.75, 2 * pi - 0.75, 32)]
    tip_x, tip_y = outer[-1]
    middle = 0.45
    radius = ((tip_x - middle) ** 2 + tip_y**2) ** 0.5
    start = np.arctan2(tip_y, tip_x - middle)
    angles = np.linspace(start, -2 * pi - start, 28)[1:-1]
    inner = [(middle + radius * cos(a), radius * sin(a)) for a in angles]
    return [(x + 0.15, y) for x, y in outer + inner]


def _flower() -> list[tuple[float, float]]:
    points = []
    for k in range(60):
        a = 2 * pi * k / 60
        r = 0.72 + 0.28 * cos(6 * a)
        points.append((r * cos(a), r * sin(a)))
    return points


def _drop() -> list[tuple[float, float]]:
    arc = [(0.62 * cos(a), 0.36 + 0.62 * sin(a)) for a in np.linspace(-0.45, pi + 0.45, 28)]
    return [(0.0, -1.0), *arc]


@cache
def outline(shape: str) -> Outline:
    """Return the polygons of ``shape``, each ``(N, 2)``: the outer one, then holes if any."""
    check("shape", shape, SHAPES)
    curved = {
        "circle": lambda: [_regular(40, 0.9)],
        "oval": lambda: [[(x, 0.6 * y) for x, y in _regular(40)]],
        "semicircle": lambda: [[(cos(a), 0.5 + sin(a)) for a in np.linspace(-pi, 0, 28)]],
        "pentagon": lambda: [_regular(5)],
        "hexagon": lambda: [_regular(6)],
        "star": lambda: [_star()],
        "heart": lambda: [_heart()],
        "ring": lambda: [_regular(40, 0.95), _regular(32, 0.48)],
        "crescent": lambda: [_crescent()],
        "flower": lambda: [_flower()],
        "drop": lambda: [_drop()],
    }
    polygons = [_CORNERS[shape]] if shape in _CORNERS else curved[shape]()
    return tuple(np.asarray(points, dtype=np.float64) for points in polygons)
