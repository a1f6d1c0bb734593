"""Open one image file, or say exactly why it cannot be opened. Loads no torch."""

from __future__ import annotations

import struct
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from diffuprompt.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
# what pillow's decoders raise on damaged files
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)


class ImageError(DataError):
    """One image cannot be used: ``path``, ``what`` is wrong and how to ``fix`` it."""

    def __init__(self, path: Path, what: str, fix: str) -> None:
        super().__init__(f"{path}: {what}; {fix}")
        self.path, self.what, self.fix = path, what, fix


def load_image(path: Path) -> Image.Image:
    """Decode ``path`` completely and return it as RGB; of an animation, the first frame.

    The EXIF orientation is *not* applied: CLIP's official preprocessing and the benchmark's
    reader do not apply it, and results must be comparable with theirs. An alpha channel is
    dropped, as there. Raises `ImageError` (a `DataError`) naming the file when it is missing,
    empty, truncated, damaged, too large or not an image.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise ImageError(path, "the image file is empty (0 bytes)", "replace or remove it")
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        fix = "restore it or correct the path"
        raise ImageError(path, "image file not found", fix) from error
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        what = f"cannot be read ({error.strerror})"
        raise ImageError(path, what, "correct the path or its permissions") from error
    except UnidentifiedImageError as error:
        what = f"not an image of a known kind ({', '.join(SUFFIXES)})"
        raise ImageError(path, what, "convert, replace or remove it") from error
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"too many pixels ({error})", "make it smaller") from error
    except _DAMAGE as error:
        raise ImageError(path, f"damaged image ({error})", "replace or remove it") from error
