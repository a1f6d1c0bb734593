"""Open one image file, or say exactly why it cannot be opened. Loads no torch."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from diffuprompt.data.kinds import formats, is_text_path, undecodable
from diffuprompt.data.levels import TURN, as_rgb
from diffuprompt.errors import DataError

MAX_PIXELS = 128_000_000  # half a gigabyte decoded; phones take up to 108 million
MAX_RATIO = 100  # of the sides; a view enlarges the short one, and memory grows with the long one
ORIENTATION = 0x0112  # EXIF's number for it; 1 is upright
Taken = TypeVar("Taken")
_PNG = b"\x89PNG\r\n\x1a\n"
_NO_PIXELS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_FOREIGN = (
    (0, b"%!PS", "an EPS or PostScript file, which only other programs can draw"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS file, which only other programs can draw"),
    (0, b"\xd7\xcd\xc6\x9a", "a WMF file, which only other programs can draw"),
    (40, b" EMF", "an EMF file, which only other programs can draw"),
    (0, b"%PDF", "a PDF file"),
    (4, b"ftyphei", "a HEIC file"),
    (4, b"ftypmif1", "a HEIF file"),
)
_KNOWN = (
    (0, _PNG, "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
)

# what pillow warns of is refused here by name, or harms no pixel; a library user sees no raw text
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


class ImageError(DataError):
    """One image cannot be used: ``path``, ``what`` is wrong and how to ``fix`` it."""

    def __init__(self, path: Path, what: str, fix: str) -> None:
        super().__init__(f"{path}: {what}; {fix}")
        self.path, self.what, self.fix = path, what, fix


class _RefusalError(Exception):
    """What is wrong with a picture, and how to fix it; whoever knows the file names it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


def load_image(path: Path) -> Image.Image:
    """Decode ``path`` completely and return it as RGB; of an animation, the first frame.

    The EXIF orientation is *not* applied: CLIP's official preprocessing and the benchmark's
    reader do not apply it, and results must be comparable with theirs; it is remembered, and views
    of `Preprocess` apply it where ``exif_orientation`` asks for it. An alpha channel is
    dropped, as there; 16-bit levels become the nearest 8-bit ones. Raises `ImageError` (a
    `DataError`) naming the file when it is missing, empty, truncated, damaged, not an image that
    pillow decodes by itself, of more than 128 million pixels, more than 100 times as long as it
    is wide, or of 32-bit levels, whose range nobody knows.
    """
    return read_picture(path)[0]


def read_picture(path: Path) -> tuple[Image.Image, int]:
    """Return what `load_image` returns, and the EXIF orientation, 1 where the file names none."""
    pixels = _read(path, _pixels)
    return pixels, pixels.info[TURN]


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of what `load_image` would return, from the header alone.

    Raises `ImageError` where `load_image` would, damaged pixels and levels aside.
    """
    return _read(path, _height_width)


def _read(path: Path, take: Callable[[Image.Image], Taken]) -> Taken:
    """Return what ``take`` makes of an opened picture."""
    path = Path(path)
    try:
        if not is_text_path(path):
            raise DataError(undecodable(path))
        if path.stat().st_size == 0:
            raise ImageError(path, "the image file is empty (0 bytes)", "replace or remove it")
        return _decode(path, take)
    except DataError:
        raise
    except _RefusalError as refusal:
        raise ImageError(path, refusal.what, refusal.fix) from refusal
    except FileNotFoundError as error:
        fix = "restore it or correct the path"
        raise ImageError(path, "image file not found", fix) from error
    except UnidentifiedImageError as error:
        raise ImageError(path, _foreign(path), "convert, replace or remove it") from error
    except MemoryError as error:
        what = "not enough memory to decode this image"
        raise ImageError(path, what, "make it smaller, or free memory") from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:  # of the system, not of a decoder
            what = f"cannot be read ({error.strerror})"
            raise ImageError(path, what, "correct the path or its permissions") from error
        # decoders raise anything on damaged bytes, down to KeyError
        what = f"damaged image ({_line(error)})"
        raise ImageError(path, what, "replace or remove it") from error


def to_pixels(image: Image.Image, where: str) -> Image.Image:
    """Return an opened picture as RGB by the rules of `load_image`.

    Raises:
        DataError: it is refused there; ``where`` names it.
    """
    try:
        pixels = _checked(image).copy()
        pixels.info[TURN] = _orientation(image)
        return pixels
    except _RefusalError as refusal:
        raise DataError(f"{where}: {refusal.what}; {refusal.fix}") from refusal


def _decode(path: Path, take: Callable[[Image.Image], Taken]) -> Taken:
    try:
        return _decode_from(path, take)
    except Image.DecompressionBombError as error:
        raise _RefusalError(*_too_many()) from error
    except (UnidentifiedImageError, ValueError) as error:
        large = "MAX_TEXT" in str(error)
        if not large and not isinstance(error, UnidentifiedImageError):
            raise
        content = path.read_bytes()
        if content.startswith(_PNG):  # damage in what no pixel needs is no damage
            return _decode_from(_without_metadata(content), take)
        if large:
            what = "its texts or its colour profile are too large"
            raise _RefusalError(what, "save it without metadata") from error
        raise


def _decode_from(source: Path | io.BytesIO, take: Callable[[Image.Image], Taken]) -> Taken:
    with Image.open(source, formats=formats()) as image:
        return take(image)


def _pixels(image: Image.Image) -> Image.Image:
    """Return the pixels, and with them how to turn them, for views that are asked to."""
    pixels, orientation = _checked(image), _orientation(image)
    pixels.info[TURN] = orientation
    return pixels


def _checked(image: Image.Image) -> Image.Image:
    """Return the pixels; from the header alone it is known what is too large."""
    _bounded(image)
    try:
        return as_rgb(image)
    except DataError as error:
        raise _RefusalError(str(error), "save it with 8 bits per channel, or remove it") from error


def _bounded(image: Image.Image) -> tuple[int, int]:
    """Return width and height of what is not too large."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _RefusalError(*_too_many(f"{width} x {height} = {width * height / 1e6:.0f} million"))
    if max(width, height) > MAX_RATIO * min(width, height):
        what = f"{width} x {height} pixels: one side is more than {MAX_RATIO} times the other"
        raise _RefusalError(what, "cut or remove it")
    return width, height


def _height_width(image: Image.Image) -> tuple[int, int]:
    width, height = _bounded(image)
    return height, width


def _too_many(got: str = "") -> tuple[str, str]:
    got = f"{got}; " if got else ""
    most = f"at most {MAX_PIXELS / 1e6:.0f} million are read"
    return f"too many pixels ({got}{most})", "make it smaller"


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata beside good pixels
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _without_metadata(png: bytes) -> io.BytesIO:
    """Return a PNG without its texts and colour profile, which no pixel needs."""
    kept, start = [png[:8]], len(_PNG)
    while start + 12 <= len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4], "big")
        if png[start + 4 : start + 8] not in _NO_PIXELS:
            kept.append(png[start:end])
        start = end
    return io.BytesIO(b"".join(kept))


def _foreign(path: Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(64)
    for start, mark, what in _FOREIGN:
        if head[start:].startswith(mark):
            return f"this is {what}"
    for start, mark, kind in _KNOWN:
        if head[start:].startswith(mark):
            return f"damaged image (or a {kind} of a kind that pillow does not read)"
    return f"not an image of a known kind ({', '.join(formats())})"


def _line(error: Exception) -> str:
    text = "".join(char for char in " ".join(str(error).split()) if char.isprintable())
    return text[:200] or type(error).__name__
