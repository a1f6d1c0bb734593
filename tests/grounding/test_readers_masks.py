"""Polygons and runs of pixels against naive loops and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffuprompt.errors import DataError
from diffuprompt.grounding.worlds.segmentation import parse_segmentation

HEIGHT, WIDTH = 9, 13


def mask(value: Any, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return parse_segmentation(value, height, width).mask(height, width)


def naive(points: np.ndarray) -> np.ndarray:
    """The even-odd rule, one pixel centre and one edge at a time."""
    found = np.zeros((HEIGHT, WIDTH), bool)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y = column + 0.5, row + 0.5
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
                if (y0 > y) != (y1 > y) and x > x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                    found[row, column] ^= True
    return found


def compressed(counts: list[int]) -> str:
    """COCO's text, digit by digit."""
    text = ""
    for i, count in enumerate(counts):
        number = count - counts[i - 2] if i > 2 else count
        while True:
            digit, number = number & 31, number >> 5
            done = number == (-1 if digit & 16 else 0)
            text += chr(48 + digit + (0 if done else 32))
            if done:
                break
    return text


def runs(found: np.ndarray) -> list[int]:
    """Down the columns, one pixel at a time."""
    counts, inside = [0], False
    for value in found.T.ravel():
        if value != inside:
            counts.append(0)
            inside = bool(value)
        counts[-1] += 1
    return counts


@pytest.mark.parametrize("seed", range(20))
def test_any_polygon_equals_the_naive_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.9, [WIDTH + 0.9, HEIGHT + 0.9], (rng.integers(3, 9), 2))
    assert (mask([points.ravel().tolist()]) == naive(points)).all()


def test_a_rectangle_covers_its_pixels_and_no_more() -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:5, 3:11] = True
    assert (mask([[3, 2, 11, 2, 11, 5, 3, 5]]) == expected).all()
    assert mask([[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]).all()


def test_several_polygons_are_one_mask() -> None:
    first, second = [0, 0, 5, 0, 5, 5, 0, 5], [3, 3, 9, 3, 9, 8, 3, 8]  # they overlap
    assert (mask([first, second]) == (mask([first]) | mask([second]))).all()


@pytest.mark.parametrize("seed", range(5))
def test_runs_give_back_the_mask(seed: int) -> None:
    found = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.3
    found[:, :8] &= seed > 2  # long runs too
    plain = {"size": [HEIGHT, WIDTH], "counts": runs(found)}
    assert (mask(plain) == found).all()
    assert (mask({**plain, "counts": compressed(runs(found))}) == found).all()


def test_compression_by_hand() -> None:
    # 2, 3, 1, and 1 - 3 = -2, whose five bits are 30, the sign among them
    assert mask({"size": [7, 1], "counts": "231N"}, 7, 1).T.tolist() == [[0, 0, 1, 1, 1, 0, 1]]
    # 100 is 4 + 32 * 3: two digits, the first with the mark that more follow
    assert mask({"size": [103, 1], "counts": "T33"}, 103, 1).sum() == 3


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "neither a list of polygons"),
        ("x", "neither a list of polygons"),
        ([[0, 0, 5, 5]], "a polygon of 2 points; it needs x and y of three points"),
        ([[0, 0, 5, 5, 1]], "a polygon of 5 numbers"),
        ([[0, 0, 5, 5, 1, "2"]], "no list of numbers"),
        ([[0, 0, 5, 5, 1, True]], "no list of numbers"),
        ([0, 0, 5, 5, 1, 2], "no list of numbers"),
        ([[0, 0, 5, 5, 1, float("nan")]], "not finite"),
        ([[0, 0, 5, 5, 1, 10**400]], "not finite"),
        ([[0, 0, 50, 5, 1, 2]], "leaves the picture of 13 x 9 pixels"),
        ([[0, 0, 5, -5, 1, 2]], "leaves the picture of 13 x 9 pixels"),
        ({"size": [13, 9], "counts": [117]}, r"height and width \[9, 13\]"),
        ({"counts": [117]}, "has size None"),
        ({"size": [9, 13], "counts": [100, 18]}, "add up to 118, not to 117"),
        ({"size": [9, 13], "counts": [118, -1]}, "neither whole numbers from 0"),
        ({"size": [9, 13], "counts": [True, 116]}, "neither whole numbers from 0"),
        ({"size": [9, 13], "counts": 117}, "neither whole numbers from 0"),
        ({"size": [9, 13], "counts": "\u00e9"}, "no text of COCO's compression"),
        ({"size": [9, 13], "counts": "o" * 10**6}, "no text of COCO's compression"),
        ({"size": [9, 13], "counts": "T"}, "end in the middle of a number"),
        ({"size": [9, 13], "counts": "N"}, "neither whole numbers from 0"),
    ],
)
def test_what_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        parse_segmentation(value, HEIGHT, WIDTH)
