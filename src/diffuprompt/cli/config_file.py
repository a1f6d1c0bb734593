"""Options from a TOML file: the same keys as on the command line, all problems at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.ranges import OVERRIDES, Range, fit, shown
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
        f"unknown key {shown(key)}.{near_miss(key, sorted(known))}"
        for key in raw
        if key not in known
    ]
    values = {key.replace("-", "_"): raw[key] for key in raw if key in known}
    if isinstance(values.get("set"), dict):
        values["set"] = [f"{key}={_plain(value)}" for key, value in _flat(values["set"])]
    wanted = {**get_type_hints(args_type, include_extras=True), "set": OVERRIDES}
    for name, value in values.items():
        try:
            values[name] = fit(_of_value(wanted[name]), value)
        except ConfigError as error:
            problems.append(f"{name.replace('_', '-')}: got {shown(value)}, {error}")
    if problems:
        raise ConfigError(f"{path}: {len(problems)} problem(s)\n  " + "\n  ".join(problems))
    return args_type(**values)


def _flat(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return keys and values; TOML reads ``train.lr = 1`` as a table, meaning "train.lr"."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _plain(value: Any) -> str:
    """Write a TOML value as one would type it after ``KEY=``."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _of_value(want: Any) -> Any:
    """Return the type of an option without what stands beside it for the command line alone."""
    if get_origin(want) is not Annotated:
        return want
    kind, *extra = get_args(want)
    limits = [item for item in extra if isinstance(item, Range)]
    return Annotated[kind, limits[0]] if limits else kind
