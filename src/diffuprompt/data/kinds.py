"""Which files are pictures, and which of them lie in a folder: one rule for training and predict.

Loads no torch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, features

from diffuprompt.errors import DataError

# EPS, WMF and IPTC (which opens whatever is packed in it) may start other programs; the others
# are no pictures, need a program that pillow lacks, or hold measurements of unknown range
LEFT_OUT = {"EPS", "WMF", "IPTC", "PDF", "MPEG", "BUFR", "GRIB", "HDF5", "FITS"}
_PARTS = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000", "JPEG": "jpg", "PNG": "zlib"}
# people mean these as pictures: where pillow does not read one, it is never left out in silence
MEANT = {
    ".heic", ".heif", ".avif", ".avifs", ".webp", ".jxl", ".jp2", ".svg", ".psd", ".raw", ".dng",
    ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".eps", ".wmf", ".emf", ".fit", ".fits",
}  # fmt: skip
# what file managers and servers leave behind; hidden files and folders likewise
CLUTTER = {"thumbs.db", "desktop.ini", "ehthumbs.db"}
_CLUTTER_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Return the names of pillow's formats that are opened: all raster formats it decodes itself.

    The usual ones come first: a file is what the first format that knows its beginning says.
    """
    Image.init()
    named = set(Image.registered_extensions().values())
    usual = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
    known = [name for name in (*usual, *sorted(named)) if name in Image.OPEN]
    return tuple(n for n in dict.fromkeys(known) if n not in LEFT_OUT and _is_built(n))


def _is_built(name: str) -> bool:
    return name not in _PARTS or bool(features.check(_PARTS[name]))


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """Return the endings of picture files, in lower case and with their dot."""
    known = {*formats(), "MPO"} if "JPEG" in formats() else set(formats())
    return frozenset(ext for ext, name in Image.registered_extensions().items() if name in known)


def is_meant(path: Path) -> bool:
    """Whether people take such a file for a picture although it is not read."""
    return path.suffix.lower() in MEANT - suffixes()


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, a resource fork or left behind by a file manager."""
    return name.startswith(".") or name.lower() in CLUTTER | _CLUTTER_FOLDERS


@dataclass(frozen=True, kw_only=True)
class Found:
    """What lies in folders: ``pictures``, files ``meant`` as such, and the ``others``, by path."""

    pictures: tuple[Path, ...]
    meant: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()


def find_pictures(folder: Path) -> Found:
    """Return what lies in ``folder`` and below it, sorted; hidden files are no part of it.

    Raises:
        DataError: a folder cannot be read, or names are no valid UTF-8; all of these at once.
    """
    pictures: list[Path] = []
    meant: list[Path] = []
    others: list[Path] = []
    broken: list[Path] = []
    for here, names, leaves in os.walk(folder, onerror=_unreadable):
        names[:] = sorted(name for name in names if not is_hidden(name))
        linked = [name for name in names if os.path.islink(os.path.join(here, name))]
        for leaf in (*linked, *leaves):
            path = Path(here) / leaf
            if is_hidden(leaf):
                continue
            if not _is_text(leaf):
                broken.append(path)
            elif path.suffix.lower() in suffixes() and leaf not in linked:
                pictures.append(path)
            else:
                (meant if is_meant(path) else others).append(path)
        broken += [Path(here) / name for name in names if not _is_text(name)]
    if broken:
        lines = [undecodable(path) for path in sorted(broken)[:20]]
        raise DataError("\n  ".join(lines))
    return Found(
        pictures=tuple(sorted(pictures)), meant=tuple(sorted(meant)), others=tuple(sorted(others))
    )


def left_out(paths: Iterable[Path]) -> str:
    """Return how many files are left out, by kind: ``3 files that are no pictures: 2 .txt, ...``.

    The empty string where there are none.
    """
    kinds = Counter(_kind(path) for path in paths)
    if not kinds:
        return ""
    many = sum(kinds.values())
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    what = "1 file that is no picture" if many == 1 else f"{many} files that are no pictures"
    if any(is_meant(Path(f"x{kind}")) for kind in kinds):
        what = f"{many} file(s) that cannot be read as pictures"
    return f"left out {what}: {listed}"


def _kind(path: Path) -> str:
    if path.is_dir():
        return "linked folder"
    return ascii(path.suffix.lower())[1:-1] or "without an ending"


def undecodable(path: Path | str) -> str:
    """Return what is wrong with a path whose bytes are no text."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    return f"{shown}: the file name is no valid UTF-8; rename it"


def is_text_path(path: Path | str) -> bool:
    """Whether the bytes of a path are UTF-8, so that it can be shown, hashed and written."""
    return _is_text(str(path))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
