"""Five visual styles of one and the same scene: names, boxes and masks stay true in each."""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from diffuprompt.data.scenes.attributes import STYLES, Style, check


def _sketch(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Dark pencil lines on paper, the colours only a wash."""
    grey = image.convert("L").filter(ImageFilter.GaussianBlur(0.6))
    lines = np.asarray(grey.filter(ImageFilter.FIND_EDGES), np.float32)
    lines[[0, -1]] = 0
    lines[:, [0, -1]] = 0
    wash = 0.7 * np.asarray(image, np.float32) + 0.3 * 250
    return Image.fromarray((wash * (1 - np.clip(lines / 300, 0, 0.5))[..., None]).astype(np.uint8))


def _noisy(image: Image.Image, noise: np.random.Generator) -> Image.Image:
    """Heavy sensor noise with a few dead pixels."""
    pixels = np.asarray(image, np.float32)
    pixels = pixels + 38 * noise.standard_normal(pixels.shape, np.float32)
    dead = noise.random(pixels.shape[:2], np.float32)
    pixels[dead < 0.03] = 0
    pixels[dead > 0.97] = 255
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _inverted(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Light becomes dark and dark light while hues stay: ``x + 255 - max - min`` per pixel."""
    pixels = np.asarray(image, np.int16)
    shift = 255 - pixels.max(-1, keepdims=True) - pixels.min(-1, keepdims=True)
    return Image.fromarray((pixels + shift).astype(np.uint8))


def _painted(image: Image.Image, noise: np.random.Generator) -> Image.Image:
    """Wobbling brush strokes in few colours."""
    side = image.width
    coarse = noise.random((2, max(4, side // 6), max(4, side // 6)), np.float32) * 2 - 1
    wobble = [
        np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC))
        for c in coarse
    ]
    rows, columns = np.mgrid[0:side, 0:side]
    rows = np.clip(rows + 0.035 * side * wobble[0], 0, side - 1).astype(np.intp)
    columns = np.clip(columns + 0.035 * side * wobble[1], 0, side - 1).astype(np.intp)
    moved = Image.fromarray(np.asarray(image)[rows, columns])
    return ImageOps.posterize(moved.filter(ImageFilter.MedianFilter(3)), 3)


_APPLY = {"sketch": _sketch, "noisy": _noisy, "inverted": _inverted, "painted": _painted}


def apply_style(image: Image.Image, style: Style, rng: Random) -> Image.Image:
    """Return ``image`` (RGB, square) in ``style``; ``clean`` returns it unchanged.

    ``inverted`` keeps hues, so colour names stay true; the renderer exchanges black and white
    beforehand. Raises `ConfigError` for an unknown style.
    """
    check("style", style, STYLES)
    if style == "clean":
        return image
    return _APPLY[style](image, np.random.default_rng(rng.getrandbits(64)))
