"""Masks as COCO's annotations hold them: polygons, or runs of pixels, plain and compressed.

Legend: H rows, W columns, P points, R rows that a polygon reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diffuprompt.errors import DataError

SLACK = 1.0  # pixels that annotations may lie outside a picture, by rounding
MOST_DIGITS = 7  # of 5 bits, of a run; pictures have at most 128 million pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Polygons:
    """The union of polygons ``(P, 2)``, x and y in pixels."""

    points: tuple[np.ndarray, ...]

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return the pixels whose centre lies inside one of them, ``(H, W)`` bool."""
        found = np.zeros((height, width), bool)
        for points in self.points:
            found |= _inside(points, height, width)
        return found

    def content(self) -> bytes:
        """Return what tells it from other shapes."""
        return b"".join(
            len(points).to_bytes(4, "little") + points.astype("<f8").tobytes()
            for points in self.points
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """How many pixels in turn are outside and inside, down the columns from the left one on."""

    counts: np.ndarray

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return the pixels inside, ``(H, W)`` bool."""
        inside = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(inside, self.counts).reshape(width, height).T

    def content(self) -> bytes:
        """Return what tells it from other shapes."""
        return self.counts.astype("<i8").tobytes()


Segmentation = Polygons | Runs


def parse_segmentation(value: Any, height: int, width: int) -> Segmentation:
    """Return the "segmentation" of an annotation about a picture of a size.

    Raises:
        DataError: what is wrong with it.
    """
    if isinstance(value, dict):
        return _runs(value, height, width)
    if not isinstance(value, list) or not value:
        raise DataError(
            "the segmentation is neither a list of polygons nor an object of size and counts"
        )
    return Polygons(points=tuple(_polygon(one, height, width) for one in value))


def _polygon(value: Any, height: int, width: int) -> np.ndarray:
    if not isinstance(value, list) or not all(type(n) in (int, float) for n in value):
        raise DataError("a polygon is no list of numbers x, y, x, y, ...")
    if len(value) % 2 or len(value) < 6:
        what = f"{len(value)} numbers" if len(value) % 2 else f"{len(value) // 2} points"
        raise DataError(f"a polygon of {what}; it needs x and y of three points at least")
    if not all(abs(n) < 2**31 for n in value):
        raise DataError("a polygon with numbers that are not finite, or far too large")
    points = np.array(value, float).reshape(-1, 2)
    if (points < -SLACK).any() or (points > (width + SLACK, height + SLACK)).any():
        raise DataError(f"a polygon leaves the picture of {width} x {height} pixels")
    return points


def _runs(value: dict[Any, Any], height: int, width: int) -> Runs:
    size, counts = value.get("size"), value.get("counts")
    if size != [height, width]:
        raise DataError(
            f"the segmentation has size {size!r:.80}; the picture has height and width "
            f"[{height}, {width}]"
        )
    if isinstance(counts, str):
        counts = _decompressed(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise DataError("the segmentation's counts are neither whole numbers from 0 on nor a text")
    if sum(counts) != height * width:
        raise DataError(
            f"the segmentation's counts add up to {sum(counts)}, not to {height * width} pixels"
        )
    return Runs(counts=np.array(counts, np.int64))


def _decompressed(text: str) -> list[int]:
    """Return runs from COCO's text: digits of 5 bits, low ones first, from character 48 on.

    Bit 6 says that more follow, the last digit's bit 5 is the sign; from the fourth run on, numbers
    are differences to the run before the last one.
    """
    counts: list[int] = []
    number, digits = 0, 0
    for char in text:
        code = ord(char) - 48
        if not 0 <= code < 64 or digits == MOST_DIGITS:
            raise DataError("the segmentation's counts are no text of COCO's compression")
        number |= (code & 31) << 5 * digits
        digits += 1
        if not code & 32:
            number -= (code & 16) << 5 * digits - 4
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number, digits = 0, 0
    if digits:
        raise DataError("the segmentation's counts end in the middle of a number")
    return counts


def _inside(points_P2: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the pixels whose centre is inside by the even-odd rule, ``(H, W)`` bool.

    Every row's centre line crosses edges; between an odd and an even crossing lies the inside.
    """
    x0, y0 = points_P2.T
    x1, y1 = np.roll(points_P2, -1, axis=0).T
    top, bottom = np.clip([np.floor(y0.min()), np.ceil(y0.max())], 0, height).astype(int)
    centre = np.arange(top, bottom)[:, None] + 0.5
    row, edge = np.nonzero((y0 <= centre) != (y1 <= centre))  # a horizontal edge is never crossed
    share = (centre[row, 0] - y0[edge]) / (y1 - y0)[edge]
    crossing = x0[edge] + share * (x1 - x0)[edge]
    first = np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)  # centre to its right
    toggles = np.zeros((bottom - top, width + 1), int)
    np.add.at(toggles, (row, first), 1)
    found = np.zeros((height, width), bool)
    found[top:bottom] = toggles.cumsum(1)[:, :width] % 2 == 1
    return found
