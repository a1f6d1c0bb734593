"""Options from a frozen dataclass: tyro parses; unknown names and choices get a near miss first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import (
    FlagCreatePairsOff as Switch,  # a flag without its --no- twin
    Positional,
    UseAppendAction as Repeated,
)

from diffuprompt.errors import ConfigError, near_miss

__all__ = ["Positional", "Repeated", "Switch", "options", "parse"]

T = TypeVar("T")


def options(args_type: type) -> dict[str, tuple[str, ...]]:
    """Return every option of a verb with its closed choices (empty: any value)."""
    hints = get_type_hints(args_type, include_extras=True)
    found: dict[str, tuple[str, ...]] = {"--help": ()}
    for field in dataclasses.fields(args_type):
        metadata = getattr(hints[field.name], "__metadata__", ())
        if _marker(Positional) in metadata:
            continue
        kind = hints[field.name].__origin__ if metadata else hints[field.name]
        dashed = field.name.replace("_", "-")
        found[f"--{dashed}"] = tuple(get_args(kind)) if get_origin(kind) is Literal else ()
        if kind is bool and _marker(Switch) not in metadata:
            found[f"--no-{dashed}"] = ()
    return found


def parse(
    args_type: type[T], words: Sequence[str], *, prog: str, about: str = "", examples: str = ""
) -> T:
    """Parse ``words`` into ``args_type``, whose fields are the options.

    A ``--config FILE.toml`` option gives defaults that the command line overrides.

    Raises:
        ConfigError: unknown options or choices, all of them at once, each with its near miss.
        SystemExit: 0 after help was shown, 2 for a missing or malformed value.
    """
    problems = list(_problems(options(args_type), words))
    if problems:
        raise ConfigError("\n  ".join([*problems, f"'{prog} --help' lists the options."]))

    def read(default: T | None = None) -> T:
        start: dict[str, Any] = {} if default is None else {"default": default}
        return tyro.cli(args_type, prog=prog, description=about, args=list(words), **start)

    try:
        args = read()
        config: Path | None = getattr(args, "config", None)
        if config is not None:
            from diffuprompt.cli.config_file import read_config

            args = read(read_config(config, args_type))
    except SystemExit as stop:
        if not stop.code and examples:
            print("examples:\n  " + "\n  ".join(examples.strip().splitlines()))
        raise
    return args


def _problems(known: dict[str, tuple[str, ...]], words: Sequence[str]) -> list[str]:
    """Name every unknown option and every value outside its choices."""
    problems: list[str] = []
    for position, word in enumerate(words):
        if word == "--":
            break
        if not word.startswith("--"):
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if name not in known:
            problems.append(f"Unknown option {name}.{near_miss(name, tuple(known))}")
            problems[-1] = problems[-1].replace("'", "")
            continue
        if not equals:
            value = words[position + 1] if position + 1 < len(words) else ""
        if known[name] and value not in known[name]:
            expected = ", ".join(known[name])
            hint = near_miss(value, known[name])
            problems.append(f"{name}: expected one of {expected}; got {value!r}.{hint}")
    return problems


def _marker(annotation: Any) -> Any:
    """Return the object that ``annotation[T]`` leaves in the metadata of a type."""
    return annotation[str].__metadata__[0]
