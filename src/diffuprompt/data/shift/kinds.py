"""What is done to a picture: seven kinds of shift in five severities.

Levels of blur, noise, JPEG and contrast are those of ImageNet-C (Hendrycks & Dietterich,
arXiv 1903.12261, appendix B and its released code); grey, edges and palette are styles of our own.
What ImageNet-C measures in pixels is meant for a short side of 224 and is scaled to that of the
picture.

Legend: H height, W width, 3 red, green and blue.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from diffuprompt.errors import ConfigError, near_miss

SEVERITIES = (1, 2, 3, 4, 5)
SIDE = 224  # of the pictures that ImageNet-C's levels are meant for
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as pillow's mode "L"
BLUR = (1.0, 2.0, 3.0, 4.0, 6.0)  # sigma in pixels at a short side of 224
NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation, of the range of levels
JPEG = (25, 18, 15, 10, 7)  # quality
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # share that is left
PALETTE = (64, 32, 16, 8, 4)  # number of colours
PEN = 2.0  # how dark an edge is drawn: levels of ink per level of gradient

Pixels = NDArray[np.uint8]  # (H, W, 3)
Floats = NDArray[np.float32]


def _levels(values: Floats) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _luma(pixels: Pixels) -> Floats:
    return pixels.astype(np.float32) @ np.array(LUMA, np.float32)


def _toward(pixels: Pixels, end: Floats, severity: int) -> Pixels:
    """Return ``severity`` fifths of the way from a picture to ``end``: the whole way for 5."""
    share = np.float32(severity / SEVERITIES[-1])
    return _levels((1 - share) * pixels + share * end)


def _slope(luma: Floats, axis: int) -> Floats:
    """Return the central differences along one axis: none along a side of one pixel."""
    return np.gradient(luma, axis=axis) if luma.shape[axis] > 1 else np.zeros_like(luma)


def grey(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    """Take the colour away by fifths: severity 5 is the luma of BT.601 in all three channels."""
    return _toward(pixels, _luma(pixels)[..., None], severity)


def edges(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    """Turn into a drawing by fifths: severity 5 is dark lines on white paper and nothing else.

    A line's ink is twice the length of the luma's gradient (central differences), at most black.
    """
    luma = _luma(pixels)
    down, right = (_slope(luma, axis) for axis in (0, 1))
    paper = 255 - np.minimum(255, PEN * np.hypot(down, right)).astype(np.float32)
    return _toward(pixels, paper[..., None], severity)


def blur(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    """Blur by a Gaussian of sigma 1, 2, 3, 4, 6 at a short side of 224 (ImageNet-C)."""
    sigma = BLUR[severity - 1] * min(pixels.shape[:2]) / SIDE
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def noise(pixels: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise of 0.08, 0.12, 0.18, 0.26, 0.38 of the range (ImageNet-C)."""
    drawn = rng.standard_normal(pixels.shape, np.float32)
    return _levels(pixels + 255 * np.float32(NOISE[severity - 1]) * drawn)


def jpeg(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    """Compress as JPEG of quality 25, 18, 15, 10, 7 (ImageNet-C), with pillow's subsampling.

    The blocks are of 8 pixels in every picture: a small one loses more.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG[severity - 1])
    return np.asarray(Image.open(buffer).convert("RGB"))


def contrast(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    """Leave 0.4, 0.3, 0.2, 0.1, 0.05 of the distance to each channel's mean (ImageNet-C)."""
    mean = pixels.mean(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    return _levels(mean + np.float32(CONTRAST[severity - 1]) * (pixels - mean))


def palette(pixels: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    """Paint with 64, 32, 16, 8, 4 colours: those of a median cut, without dithering."""
    few = Image.fromarray(pixels).quantize(
        PALETTE[severity - 1], method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    return np.asarray(few.convert("RGB"))


Shift = Callable[[Pixels, int, np.random.Generator], Pixels]
SHIFTS: dict[str, Shift] = {
    shift.__name__: shift for shift in (grey, edges, blur, noise, jpeg, contrast, palette)
}


def check_kind(*kinds: str) -> None:
    """Raise `ConfigError` for names that are no kind of shift, with the nearest one."""
    problems = [
        f"kinds: expected some of {list(SHIFTS)}, got {kind!r}.{near_miss(kind, list(SHIFTS))}"
        for kind in kinds
        if kind not in SHIFTS
    ]
    if problems:
        raise ConfigError("\n  ".join(problems))


def shifted(image: Image.Image, kind: str, severity: int, seed: Sequence[int]) -> Image.Image:
    """Return an RGB picture of the same size under a shift.

    Args:
        image: RGB.
        kind: a name of `SHIFTS`.
        severity: 1 to 5.
        seed: numbers of at least 0 that all randomness comes from.

    Raises:
        ConfigError: no such kind or severity.
    """
    check_kind(kind)
    if severity not in SEVERITIES:
        raise ConfigError(f"severity: expected one of {list(SEVERITIES)}, got {severity}")
    pixels = np.asarray(image.convert("RGB"))
    return Image.fromarray(SHIFTS[kind](pixels, severity, np.random.default_rng(list(seed))))
