"""The kinds of values that a record's fields may have, in both schemas; everything else is refused.

Numbers are numbers: neither true nor "1" is one. Names are for people to read: not blank, and
without control characters, which would move a terminal's cursor.
"""

from __future__ import annotations

import base64
import math
import struct
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from diffuprompt.errors import DataError

SLACK = 1e-3  # points: float32 accuracies pass, another count of hits does not
MOST = 2**53  # counts above it are no longer exact in a float
LARGEST = 1e30  # sums and products of what is measured stay finite
LONGEST = 1000  # characters of a name
PER_CENT = ("accuracy", "macro_f1", "ece", "aurc", "UB", "r1", "r5", "r10", "ub", "mask_iou")
PER_CENT_OF = ("accuracy_", "selective_", "R@", "giou_")
LAYOUT = "\t\n"  # what a command line may hold besides


class Fields(BaseModel):
    """A part of a record: no field that is not known, no NaN, no change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _text(value: str) -> str:
    return _printable(value, LAYOUT)


def _line(value: str) -> str:
    if value and not value.strip():
        raise ValueError("expected a name, got only blanks")
    return _printable(value, "")


def _printable(value: str, spared: str) -> str:
    bad = next((c for c in value if unicodedata.category(c) in _CONTROLS and c not in spared), None)
    if bad is not None:
        raise ValueError(f"expected text, got the control character U+{ord(bad):04X} in it")
    return value


_CONTROLS = ("Cc", "Cs", "Zl", "Zp")

Text = Annotated[str, AfterValidator(_text)]
Line = Annotated[str, Field(max_length=LONGEST), AfterValidator(_line)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_line)]
Count = Annotated[int, Field(strict=True, ge=0, le=MOST)]
Positive = Annotated[int, Field(strict=True, ge=1, le=MOST)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**64)]
Number = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Amount = Annotated[float, Field(strict=True, ge=0, le=LARGEST)]


def _ranges(metrics: dict[str, float]) -> dict[str, float]:
    problems = out_of_range(metrics)
    if problems:
        raise ValueError("; ".join(problems))
    return metrics


def out_of_range(metrics: Mapping[str, float]) -> list[str]:
    """Return what no measurement can have given: shares outside 0 to 100, a negative NLL."""
    problems = []
    for name, value in metrics.items():
        most = math.inf
        if name in PER_CENT or name.startswith(PER_CENT_OF):
            most = 100.0
        elif name != "nll":
            continue
        if not 0 <= value <= most + SLACK:
            expected = "at least 0" if most == math.inf else "0 to 100 per cent"
            problems.append(f"{name}: expected {expected}, got {value}")
    return problems


Metrics = Annotated[dict[Name, Number], Field(min_length=1), AfterValidator(_ranges)]


def pack_hits(hits: Sequence[bool]) -> str:
    """Encode booleans as base64 of their bits, first item in the highest bit."""
    out = bytearray((len(hits) + 7) // 8)
    for i, hit in enumerate(hits):
        if hit:
            out[i // 8] |= 128 >> (i % 8)
    return base64.b64encode(bytes(out)).decode()


def unpack_hits(text: str, total: int) -> list[bool]:
    """Inverse of `pack_hits` for ``total`` items.

    Raises:
        DataError: it is no base64, or of another number of items; `read_record` names the file.
    """
    try:
        raw = hit_bytes(text, total)
    except ValueError as error:
        raise DataError(str(error)) from error
    return [bool(raw[i // 8] & (128 >> (i % 8))) for i in range(total)]


def hit_bytes(text: str, total: int) -> bytes:
    """Return the bytes of packed hits; raises ValueError for what `pack_hits` never returns."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error, or text that is not ASCII
        raise ValueError(f"hits are not base64 ({error})") from error
    size = (total + 7) // 8
    if len(raw) != size:
        raise ValueError(f"hits hold {len(raw)} bytes, {total} items need {size}")
    if (total % 8 and raw[-1] & (255 >> total % 8)) or base64.b64encode(raw).decode() != text:
        raise ValueError(f"hits are damaged: bits are set behind those of {total} items")
    return raw


def pack_numbers(numbers: Sequence[int], width: Width = 1) -> str:
    """Encode whole numbers of ``width`` bytes each as base64 of their compressed bytes.

    Raises ValueError for numbers that are negative or too large.
    """
    try:
        raw = struct.pack(f"<{len(numbers)}{_CODES[width]}", *numbers)
    except struct.error as error:
        raise ValueError(f"numbers do not fit into {width} bytes each ({error})") from error
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def unpack_numbers(text: str, total: int, width: Width = 1) -> list[int]:
    """Inverse of `pack_numbers` for ``total`` numbers.

    Raises ValueError when it is no base64 of compressed bytes, or of another number of numbers.
    """
    size = total * width
    try:
        reader = zlib.decompressobj()
        raw = reader.decompress(base64.b64decode(text, validate=True), size + 1)  # never a bomb
    except (ValueError, zlib.error) as error:  # binascii.Error is a ValueError
        raise ValueError(f"numbers are damaged ({error})") from error
    if len(raw) != size or not reader.eof or reader.unused_data:
        raise ValueError(f"numbers are damaged: expected just {size} bytes for {total} items")
    return list(struct.unpack(f"<{total}{_CODES[width]}", raw))


Width = Literal[1, 4]
_CODES: dict[Width, str] = {1: "B", 4: "I"}
