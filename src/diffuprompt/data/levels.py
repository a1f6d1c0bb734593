"""Levels of grey and colour as 8-bit RGB, whatever the file stores. Loads no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from diffuprompt.data.kinds import formats
from diffuprompt.errors import DataError

TURN = "exif_orientation"  # among what a decoded picture says of itself
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WIDE = (".png", ".apng", ".tif", ".tiff", ".pgm", ".pnm", ".ppm", ".jp2", ".j2k", ".jpx", ".im")
WHITE_IS_ZERO, PHOTOMETRIC, BITS = 0, 262, 258  # of TIFF
# pillow scales these to 65535, whatever the file's own greatest level
_FULL_RANGE = {"PNG", "PPM", "JPEG2000", "IM", "AVIF", None}


def as_rgb(image: Image.Image) -> Image.Image:
    """Return a picture as RGB; levels of 12 and 16 bits become the nearest of 8 bits.

    Pillow itself would cut them off at 255. An alpha channel is dropped.

    Raises:
        DataError: 32-bit levels and others whose range nobody knows.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _from_16_bits(image).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floating-point numbers"
        raise DataError(f"its levels are {kind} (mode {image.mode}), whose range nobody knows")
    try:
        return image.convert("RGB")
    except ValueError as error:
        if "conversion" not in str(error):
            raise
        raise DataError(f"its colours (mode {image.mode}) cannot be converted to RGB") from error


def reading_of(path: Path) -> str:
    """Return a mark for pictures that were read in another way before 16 bits were, else "".

    It keeps what was computed of their old pixels from passing for what the new ones would give.
    """
    if path.suffix.lower() not in _WIDE:
        return ""
    try:
        with Image.open(path, formats=formats()) as image:
            return "16 bits" if image.mode.startswith("I") else ""
    except Exception:  # whoever reads the pixels will say it
        return ""


def upright(image: Image.Image) -> Image.Image:
    """Return a picture as the EXIF orientation of its file says; a new picture where it turns."""
    method = _TURNS.get(image.info.get(TURN, 1))
    return image if method is None else image.transpose(method)


def _from_16_bits(image: Image.Image) -> Image.Image:
    most, inverted = 65535, False
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        most = 2 ** tags.get(BITS, (16,))[0] - 1
        inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    elif image.format not in _FULL_RANGE:
        raise DataError(f"its levels are 16-bit numbers of {image.format}, of unknown range")
    levels = np.asarray(image).astype(np.uint32)
    levels = np.minimum((levels * 255 + most // 2) // most, 255)
    return Image.fromarray((255 - levels if inverted else levels).astype(np.uint8))
