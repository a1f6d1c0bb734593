"""Whether values that were read from JSON are of the kinds that a dataclass declares; no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError


def check_kinds(kind: type, data: object, prefix: str = "") -> None:
    """Compare ``data``, read from JSON, with the fields of the dataclass ``kind``.

    Numbers are numbers: neither true nor "1" is one. Fields that are missing or unknown are for
    the dataclass to refuse.

    Raises:
        TypeError: it is no object, or some values are of other kinds; all are named.
    """
    if not isinstance(data, Mapping):
        raise TypeError(
            f"{prefix or kind.__name__}: expected names with values, got {_short(data)}"
        )
    hints, problems = _hints(kind), []
    for name in sorted(set(data) & set(hints)):
        try:
            _adapter(kind, name).validate_json(json.dumps(data[name]), strict=True)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"]
            problems.append(f"{prefix}{name}: {said}, got {_short(data[name])}")
    if problems:
        raise TypeError("; ".join(problems))


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return {f.name: get_type_hints(kind)[f.name] for f in dataclasses.fields(kind)}


@lru_cache(maxsize=512)
def _adapter(kind: type, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_hints(kind)[name])


def _short(value: object) -> str:
    return ascii(value)[:80]
