"""Picture files of every kind and mode, whole and damaged."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from tests.fuzz.group import Example, Group, Silent, WronglyRefused
from tests.fuzz.mutate import damaged_bytes

from diffuprompt.data import load_image

KINDS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "P", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "PPM": ("L", "RGB", "I;16"),
    "TGA": ("L", "RGB"),
}
SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".gif",
          "WEBP": ".webp", "PPM": ".ppm", "TGA": ".tga"}  # fmt: skip
SIZES = ((8, 8), (1, 1), (9, 5), (3, 40))
LOSSY = ("JPEG", "WEBP", "GIF")
UNKNOWN_RANGE = ("I", "F")


@dataclass(frozen=True, kw_only=True)
class File:
    """A picture: its bytes, what they were made of, and whether they still are that."""

    name: str
    data: bytes
    source: str = ""
    grey: tuple[int, int, bytes] | None = None  # width, height, the 8-bit values that are right


def material(_folder: Path) -> list[File]:
    found = []
    for kind, modes in KINDS.items():
        for mode in modes:
            for width, height in SIZES:
                picture, grey = _picture(mode, width, height)
                stream = io.BytesIO()
                picture.save(stream, kind)
                exact = None if grey is None or kind in LOSSY else (width, height, grey)
                found.append(
                    File(
                        name=f"x{SUFFIX[kind]}",
                        data=stream.getvalue(),
                        source=f"{kind} {mode}",
                        grey=exact,
                    )
                )
    return found


def _picture(mode: str, width: int, height: int) -> tuple[Image.Image, bytes | None]:
    """Return a picture and, for grey modes, the 8-bit values that are right."""
    rng = np.random.default_rng(width * 100 + height)
    grey = rng.integers(0, 256, (height, width), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 257), grey.tobytes()
    if mode in UNKNOWN_RANGE:
        values = grey.astype(np.int32 if mode == "I" else np.float32)
        return Image.fromarray(values), None
    if mode == "L":
        return Image.fromarray(grey), grey.tobytes()
    colours = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(colours).convert(mode), None


def _giant(width: int, height: int, depth: int = 8) -> bytes:
    """Return a PNG of a few bytes that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 << 16))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


GIANTS = tuple(
    _giant(*size)
    for size in ((1, 2**31 - 1), (2**31 - 1, 1), (60000, 60000), (1, 20000), (0, 5), (2**31, 2**31))
)
FOREIGN = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n", b"<svg xmlns='x'/>", b"",
    b"GIF89a", b"\xff\xd8\xff", b"\xd7\xcd\xc6\x9a" + bytes(40), b"not a picture",
    b"BM" + bytes(20), b"%PDF-1.4", b"\0\0\0\x18ftypheic",
)  # fmt: skip


def examples(files: list[File]) -> st.SearchStrategy[Example]:
    whole = st.sampled_from(files)
    broken = whole.flatmap(
        lambda file: damaged_bytes(file.data).map(lambda data: File(name=file.name, data=data))
    )
    name = st.sampled_from([f"x{suffix}" for suffix in SUFFIX.values()])
    foreign = st.tuples(name, st.sampled_from(FOREIGN + GIANTS)).map(
        lambda pair: Example(what=File(name=pair[0], data=pair[1]), names=(pair[0],), is_wrong=True)
    )
    return st.one_of(
        whole.map(_of_whole),
        broken.map(lambda file: Example(what=file, names=(file.name,))),
        broken.map(lambda file: Example(what=file, names=(file.name,))),
        foreign,
    )


def _of_whole(file: File) -> Example:
    unknown = file.source.split(" ")[1] in UNKNOWN_RANGE
    return Example(what=file, names=(file.name,), is_wrong=unknown, is_right=not unknown)


def check(_files: list[File], example: Example, folder: Path) -> None:
    file: File = example.what
    path = folder / file.name
    path.write_bytes(file.data)
    image = load_image(path)
    if image.mode != "RGB" or min(image.size) < 1:
        raise Silent(f"{image.mode} {image.size}")
    if not file.source:
        return
    got = np.asarray(image)
    if file.grey is not None:
        width, height, values = file.grey
        wanted = np.frombuffer(values, np.uint8).reshape(height, width)
        if got.shape[:2] != wanted.shape or (got != wanted[..., None]).any():
            raise Silent(f"{file.source}: other grey values than were written")
    elif image.size not in SIZES:
        raise WronglyRefused(f"{file.source}: {image.size}")


GROUP = Group(name="pictures", material=material, examples=examples, check=check)
