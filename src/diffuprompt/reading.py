"""Text, JSON and TOML files as anybody may have written them: a value, or an error naming the file.

Loads no torch. What these functions return can be walked, shown and written again: it is not nested
deeper than 64 levels, and holds no NaN, no infinity and no half characters.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffuprompt.errors import CheckpointError, DiffupromptError

MAX_DEPTH = 64
MAX_TOML = 2**20  # characters; longer files are no settings, and take minutes to parse
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""  # of a dotted key
_LONG_KEY = re.compile(rf"(?:^|[\[{{,])[ \t]*+(?:{_PART}\.[ \t]*+){{{MAX_DEPTH}}}", re.MULTILINE)
_HALF = re.compile("[\ud800-\udfff]")  # of a character: cannot be written as UTF-8
Kind = type[DiffupromptError]


def read_text(path: Path, *, error: Kind = CheckpointError) -> str:
    """Return a UTF-8 file, without the byte order mark that some editors write.

    Raises ``error`` naming the file when it is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as cause:
        raise error(f"{path}: no such file") from cause
    except UnicodeDecodeError as cause:
        what = f"byte {cause.object[cause.start]:#04x} at offset {cause.start}"
        raise error(f"{path}: not UTF-8 text ({what}); save it as UTF-8") from cause
    except (OSError, ValueError) as cause:  # ValueError: a null byte in the path
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{path}: cannot be read ({reason})") from cause


def read_json(path: Path, *, error: Kind = CheckpointError) -> Any:
    """Return the content of a JSON file; raises ``error`` as `parse_json` and `read_text` do."""
    return parse_json(read_text(path, error=error), path, error=error)


def parse_json(text: str, where: object, *, error: Kind = CheckpointError) -> Any:
    """Return the value of a JSON text that stands in ``where``.

    Raises ``error`` naming ``where``: it is no JSON (with line and column), a key stands twice in
    one object, or it holds what no caller can use; see the head of this module.
    """
    return _checked(lambda: json.loads(text, object_pairs_hook=_unique), "JSON", where, error)


def read_toml(path: Path, *, error: Kind = CheckpointError) -> dict[str, Any]:
    """Return the content of a TOML file; raises ``error`` as `read_json` does.

    A file is at most 1,048,576 characters long, and a dotted key has at most 64 parts.
    """
    text = read_text(path, error=error)
    if len(text) > MAX_TOML:
        raise error(f"{path}: {len(text)} characters, at most {MAX_TOML} are read")
    long = _LONG_KEY.search(text)
    if long:  # tomllib takes the square of their number
        line = text.count("\n", 0, long.start()) + 1
        raise error(
            f"{path}: nested too deeply, a key in line {line} has more than {MAX_DEPTH} parts"
        )
    found: dict[str, Any] = _checked(lambda: tomllib.loads(text), "TOML", path, error)
    return found


def _checked(parse: Callable[[], Any], kind: str, where: object, error: Kind) -> Any:
    try:
        value = parse()
    except RecursionError as cause:
        raise error(f"{where}: nested too deeply, at most {MAX_DEPTH} levels are read") from cause
    except ValueError as cause:
        raise error(f"{where}: not valid {kind}: {_line(cause)}") from cause
    problem = _problem(value)
    if problem:
        raise error(f"{where}: {problem}")
    return value


def _line(cause: ValueError) -> str:
    lines = str(cause).splitlines()
    return lines[0][:200] if lines else type(cause).__name__


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _problem(value: Any) -> str:
    """Return what makes a parsed value unusable, or nothing; no recursion, whatever its depth."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.keys()
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, float) and not math.isfinite(item):
                return f"{_place(value, item)}: the number {item} is not finite"
            elif isinstance(item, str) and _HALF.search(item):
                where = _place(value, item)
                return f"{where}: text that is no valid Unicode: {ascii(item)[:80]}"
        level = inner
        if not level:
            return ""
    return f"nested too deeply, at most {MAX_DEPTH} levels are read"


def _place(value: Any, wanted: Any) -> str:
    """Return the keys and positions that lead to ``wanted``, which is somewhere in ``value``."""
    if value is wanted:
        return "the value"
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        if item is wanted or key is wanted:
            return ascii(key).strip("'")[:80]
        if isinstance(item, dict | list):
            inner = _place(item, wanted)
            if inner:
                return f"{ascii(key).strip(chr(39))[:80]}.{inner}"
    return ""
