"""Options from a TOML file: the same keys as on the command line, all problems at once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.reading import read_toml

T = TypeVar("T")
ONLY_ON_THE_COMMAND_LINE = frozenset({"config", "dry_run"})


def read_config(path: Path, args_type: type[T]) -> T:
    """Read ``path`` into ``args_type``; what the file does not name keeps its default.

    ``set`` may be a list of "KEY=VALUE" or a table. Paths are relative to the current folder, as
    they would be on the command line.

    Raises:
        ConfigError: no such file, not TOML, unknown keys (with the near miss) or wrong values.
    """
    raw = read_toml(path, error=ConfigError)
    fields = {f.name: f for f in dataclasses.fields(args_type)}  # type: ignore[arg-type]
    known = {n.replace("_", "-") for n in fields if n not in ONLY_ON_THE_COMMAND_LINE}
    problems = [
        f"unknown key {key!r}.{near_miss(key, sorted(known))}" for key in raw if key not in known
    ]
    values = {key.replace("-", "_"): raw[key] for key in raw if key in known}
    if isinstance(values.get("set"), dict):
        values["set"] = [f"{key}={_plain(value)}" for key, value in values["set"].items()]
    problems += _type_problems(args_type, values)
    if problems:
        raise ConfigError(f"{path}: {len(problems)} problem(s)\n  " + "\n  ".join(problems))
    return _validated(args_type, values)


def _plain(value: Any) -> str:
    """Write a TOML value as one would type it after ``KEY=``."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _type_problems(args_type: type, values: dict[str, Any]) -> list[str]:
    from pydantic import ValidationError

    try:
        _validated(args_type, values)
    except ValidationError as error:
        return [
            f"{str(e['loc'][0]).replace('_', '-')}: {e['msg']}; got {e['input']!r}"
            for e in error.errors()
        ]
    return []


def _validated(args_type: type[T], values: dict[str, Any]) -> T:
    from pydantic import TypeAdapter

    return TypeAdapter(args_type).validate_python(values)
