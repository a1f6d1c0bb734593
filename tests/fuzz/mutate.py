"""Strategies that damage JSON values, texts and bytes in the ways that files are damaged."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

from hypothesis import strategies as st

DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 2**31, 2**63, 10**12, 10**400, -0.5, 0.5, 1e308, 5e-324,
    math.nan, math.inf, "", " ", "x", "1", "true", "\u202eab", "\x1b[31mred", "a" * 5000, "\x00",
    "../../etc/passwd", "<b>|`$(x)", "\u200b", [], {}, [[]], [None], {"a": {}}, [1, "a"], DEEP,
]  # fmt: skip
ODD_BYTES = (b"\x00", b"\xff", b"\n", b'"', b"[" * 2000, b"9" * 400, b"\xef\xbb\xbf", b"\xc3\x28")


def hostile() -> st.SearchStrategy[Any]:
    """Values of every kind that a field may not expect."""
    return st.one_of(
        st.sampled_from(HOSTILE).map(copy.deepcopy),  # what is drawn may be changed again
        st.integers(-(10**6), 10**6),
        st.floats(allow_nan=True),
        st.text(max_size=12),
    )


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside ``value``, the first 400 of each container."""
    found = []
    if isinstance(value, dict | list):
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, inner in pairs[:400]:
            found += [(*above, key), *places(inner, (*above, key))]
    return found


@st.composite
def damaged(draw: st.DrawFn, value: Any) -> tuple[Any, list[str]]:
    """Return ``value`` after one to three changes, and the names of the fields that changed."""
    value = copy.deepcopy(value)
    touched = []
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        every = places(value)
        if not every:
            break
        *above, last = every[draw(st.integers(0, len(every) - 1))]
        inside = value
        for key in above:
            inside = inside[key]
        touched.append(str(next((k for k in reversed([*above, last]) if isinstance(k, str)), "")))
        action = draw(st.sampled_from(("replace", "replace", "replace", "delete", "add")))
        if action == "delete":
            del inside[last]
        elif action == "add" and isinstance(inside, dict):
            inside[draw(st.sampled_from(("extra", "", "x" * 300)))] = draw(hostile())
        elif action == "add":
            inside.append(draw(hostile()))
        else:
            inside[last] = draw(hostile())
    return value, touched


def written(value: Any) -> bytes:
    """Return JSON as any program may have written it: NaN and half characters too."""
    return json.dumps(value).encode()


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Return ``data`` with some bytes flipped, cut, repeated or put in."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        action = draw(st.sampled_from(("flip", "flip", "cut", "insert", "drop", "twice")))
        if not data:
            return data
        if action == "flip":
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        elif action == "cut":
            data = data[:at]
        elif action == "insert":
            data = data[:at] + draw(st.sampled_from(ODD_BYTES)) + data[at:]
        else:
            end = at + draw(st.integers(1, 64))
            data = data[:at] + (data[end:] if action == "drop" else data[at:end] + data[at:])
    return data


@st.composite
def damaged_json(draw: st.DrawFn, value: Any) -> tuple[bytes, list[str]]:
    """Return a JSON file of ``value``, damaged as a value or as bytes, and the changed fields."""
    if draw(st.integers(0, 4)):
        changed, touched = draw(damaged(value))
        return written(changed), touched
    return draw(damaged_bytes(written(value))), []
