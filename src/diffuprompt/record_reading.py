"""Reading a JSON file into the record that its schema names; all that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from diffuprompt.errors import DataError
from diffuprompt.reading import read_json
from diffuprompt.record_fields import Fields

SHOWN = 12  # problems of a file that a message lists
Kind = TypeVar("Kind", bound=Fields)
Makers = Mapping[str, Callable[[dict[str, Any]], Kind]]


def read_fields(path: Path, makers: Makers[Kind]) -> Kind:
    """Return what one file holds, made by the function of its ``schema_name``.

    Raises:
        DataError: the file is no record, is of a schema that ``makers`` does not have, or has
            fields that are missing or wrong; the first dozen problems of the file are named.
    """
    data = read_json(path, error=DataError)
    found = data.get("schema_name") if isinstance(data, dict) else None
    if not isinstance(found, str) or found not in makers:
        raise DataError(f"{path}: {_unknown(found, list(makers))}")
    try:
        return makers[found](data)
    except ValidationError as error:
        lines = [_problem(e["loc"], e["msg"]) for e in error.errors(include_url=False)]
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        text = "\n  ".join([*lines[:SHOWN], *more])
        raise DataError(f"{path}: not a valid record\n  {text}") from error


def _problem(place: tuple[int | str, ...], said: str) -> str:
    where = ".".join(ascii(part).strip("'")[:80] for part in place)
    return f"{where}: {said}" if where else said


def _unknown(found: object, schemas: list[str]) -> str:
    known = f"this version of diffuprompt reads {' and '.join(schemas)}"
    families = tuple(f"{schema.partition('/')[0]}/" for schema in schemas)
    if isinstance(found, str) and found not in schemas and found.startswith(families):
        return (
            f"its schema is {ascii(found).strip(chr(39))[:80]}; {known}. A newer version wrote it "
            "and can read it: pip install --upgrade diffuprompt"
        )
    got = "it names no schema" if found is None else f"its schema is {ascii(found)[:80]}"
    return f"not a record: {got}; {known}, with that name in the field schema_name"
