"""Painting one object: its silhouette and its texture, drawn at twice the final resolution."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from diffuprompt.data.scenes.attributes import COLOURS, Look
from diffuprompt.data.scenes.shapes import outline

OVERSAMPLE = 2


@dataclass(frozen=True)
class Sprite:
    """An object before it is placed; arrays are ``(h, w)`` at twice the final resolution.

    ``silhouette`` holds all that the object covers, ``small`` the same at the final resolution,
    ``inked`` what is painted (an outlined object shows the background inside), ``rgb`` the paint.
    """

    silhouette: np.ndarray
    small: np.ndarray
    inked: np.ndarray
    rgb: np.ndarray

    @property
    def height(self) -> int:
        """Height in final pixels."""
        return int(self.small.shape[0])

    @property
    def width(self) -> int:
        """Width in final pixels."""
        return int(self.small.shape[1])


def _mix(rgb: np.ndarray, other: float, share: float) -> np.ndarray:
    return rgb * (1 - share) + other * share


def _accent(rgb: np.ndarray) -> np.ndarray:
    """A clearly lighter or darker shade of the same hue for stripes and dots."""
    lightness = float(rgb @ np.array([0.3, 0.59, 0.11]))
    return _mix(rgb, 0.0, 0.6) if lightness > 130 else _mix(rgb, 255.0, 0.7)


def _pattern(fill: str, height: int, width: int, radius: float, rng: Random) -> np.ndarray:
    """Boolean ``(height, width)``: where the accent shade goes."""
    period = max(3.5 * OVERSAMPLE, 0.42 * radius)
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    if fill == "striped":
        angle = rng.choice((0.0, 0.785, 1.571, 2.356)) + rng.uniform(-0.1, 0.1)
        along = u * cos(angle) + v * sin(angle) + rng.uniform(0, period)
        return (along % period) < period / 2
    row = (v // period) % 2
    du = (u + row * period / 2) % period - period / 2
    dv = v % period - period / 2
    return du * du + dv * dv < (0.31 * period) ** 2


def make_sprite(
    look: Look, radius: float, rng: Random, rgb: tuple[int, int, int], max_turn: float
) -> Sprite:
    """Draw ``look`` in colour ``rgb``, ``radius`` in final pixels, turned by up to ``max_turn``."""
    r = radius * OVERSAMPLE
    turn = rng.uniform(-max_turn, max_turn)
    rotation = np.array([[cos(turn), sin(turn)], [-sin(turn), cos(turn)]])
    polygons = [points @ rotation * r for points in outline(look.shape)]
    low = np.floor(polygons[0].min(0) / 2) * 2 - 2
    high = np.ceil(polygons[0].max(0) / 2) * 2 + 2
    width, height = (int(n) for n in high - low)
    corners = [[(float(x), float(y)) for x, y in points - low] for points in polygons]

    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    for k, points in enumerate(corners):
        draw.polygon(points, fill=0 if k else 255)
    silhouette = np.asarray(mask) > 0
    inked = silhouette
    base = np.asarray(rgb, dtype=np.float64)
    paint = np.broadcast_to(base, (height, width, 3))
    if look.fill == "outlined":
        stroke = max(2 * OVERSAMPLE, round(0.22 * r))
        for points in corners:
            draw.line([*points, points[0]], fill=0, width=2 * stroke)
        inked = silhouette & (np.asarray(mask) == 0)
    elif look.fill != "solid":
        accent = _pattern(look.fill, height, width, r, rng)
        paint = np.where(accent[..., None], _accent(base), base)
    counts = silhouette.reshape(height // 2, 2, width // 2, 2).sum((1, 3))
    return Sprite(silhouette, counts >= 2, inked, paint.astype(np.uint8))


def jittered(colour: str, rng: Random, swap: bool = False) -> tuple[int, int, int]:
    """The colour's RGB with a little variation; ``swap`` exchanges black and white."""
    if swap:
        colour = {"black": "white", "white": "black"}.get(colour, colour)
    red, green, blue = (min(255, max(0, c + rng.randint(-12, 12))) for c in COLOURS[colour])
    return red, green, blue


def paint(canvas: np.ndarray, background: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
    """Put ``sprite`` on ``canvas`` (both at twice the resolution) at final pixel ``(x, y)``."""
    height, width = sprite.silhouette.shape
    rows = slice(y * OVERSAMPLE, y * OVERSAMPLE + height)
    columns = slice(x * OVERSAMPLE, x * OVERSAMPLE + width)
    patch = canvas[rows, columns]
    if sprite.inked is not sprite.silhouette:
        np.copyto(patch, background[rows, columns], where=sprite.silhouette[..., None])
    np.copyto(patch, sprite.rgb, where=sprite.inked[..., None])
