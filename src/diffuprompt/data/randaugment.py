"""RandAugment (Cubuk et al. 2020) in the sixteen operations that CoPrompt trains with.

Each takes an RGB picture, a value and the caller's stream. The list and the ranges are those of the
TPU implementation's port that CoPrompt's code carries: a magnitude m of 30 stands for
``low + m / 30 * (high - low)``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

COUNT, MAGNITUDE, STEPS = 2, 10, 30  # CoPrompt's setting
GREY = (125, 123, 114)
Operation = Callable[[Image.Image, float, random.Random], Image.Image]


def randaugment(
    image: Image.Image,
    rng: random.Random,
    count: int = COUNT,
    magnitude: float = MAGNITUDE,
) -> Image.Image:
    """Apply ``count`` operations drawn with replacement, each at the same ``magnitude`` of 30."""
    for operation, low, high in rng.choices(OPERATIONS, k=count):
        image = operation(image, low + magnitude / STEPS * (high - low), rng)
    return image


def _plain(change: Callable[[Image.Image], Image.Image]) -> Operation:
    return lambda image, value, rng: change(image)


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, value, rng: kind(image).enhance(value)


def _sign(value: float, rng: random.Random) -> float:
    return -value if rng.random() > 0.5 else value


def _rotate(image: Image.Image, value: float, rng: random.Random) -> Image.Image:
    return image.rotate(_sign(value, rng))


def _affine(place: int) -> Operation:
    """Shear or shift: ``value`` at one place of the matrix ``(1, 0, 0, 0, 1, 0)``."""

    def apply(image: Image.Image, value: float, rng: random.Random) -> Image.Image:
        matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        matrix[place] = _sign(value, rng)
        return image.transform(image.size, Image.Transform.AFFINE, matrix)

    return apply


def _posterize(image: Image.Image, value: float, rng: random.Random) -> Image.Image:
    return ImageOps.posterize(image, max(1, int(value)))


def _solarize(image: Image.Image, value: float, rng: random.Random) -> Image.Image:
    return ImageOps.solarize(image, int(value))


def _solarize_add(image: Image.Image, value: float, rng: random.Random) -> Image.Image:
    brighter = image.point(lambda p: min(255, p + int(value)))
    return ImageOps.solarize(brighter, 128)


def _cutout(image: Image.Image, value: float, rng: random.Random) -> Image.Image:
    """Grey out a square of ``value`` pixels around a random point."""
    width, height = image.size
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    left, top = int(max(0, x - value / 2)), int(max(0, y - value / 2))
    box = (left, top, min(width, left + value), min(height, top + value))
    image = image.copy()
    ImageDraw.Draw(image).rectangle(box, GREY)
    return image


OPERATIONS: tuple[tuple[Operation, float, float], ...] = (
    (_plain(ImageOps.autocontrast), 0, 1),
    (_plain(ImageOps.equalize), 0, 1),
    (_plain(ImageOps.invert), 0, 1),
    (_rotate, 0, 30),
    (_posterize, 4, 8),
    (_solarize, 0, 256),
    (_solarize_add, 0, 110),
    (_enhance(ImageEnhance.Color), 0.1, 1.9),
    (_enhance(ImageEnhance.Contrast), 0.1, 1.9),
    (_enhance(ImageEnhance.Brightness), 0.1, 1.9),
    (_enhance(ImageEnhance.Sharpness), 0.1, 1.9),
    (_affine(1), 0.0, 0.3),  # shear x
    (_affine(3), 0.0, 0.3),  # shear y
    (_cutout, 0, 40),
    (_affine(2), 0.0, 100),  # shift x
    (_affine(5), 0.0, 100),  # shift y
)
