"""Options from a frozen dataclass: tyro parses; unknown names and choices get a near miss first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import (
    FlagCreatePairsOff as Switch,  # a flag without its --no- twin
    Positional,
    UseAppendAction as Repeated,
)

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.ranges import Range, clean, fit, shown

__all__ = ["Positional", "Repeated", "Switch", "bounded", "options", "parse"]

T = TypeVar("T")


def bounded(limit: Range, metavar: str = "N") -> Any:
    """Return what makes the help of an option say ``limit``, which stands beside it in its type."""
    return tyro.conf.arg(
        metavar=metavar, help_behavior_hint=lambda default: f"({limit}; default: {default})"
    )


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
        ConfigError: unknown options or choices, numbers out of the range that stands in their type,
            texts that cannot be written, one ``--set`` key with two values; all of them at once.
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
        _refuse(_misfits(args))
        config: Path | None = getattr(args, "config", None)
        if config is not None:
            from diffuprompt.cli.config_file import read_config

            args = read(read_config(config, args_type))
    except SystemExit as stop:
        if not stop.code and examples:
            print("examples:\n  " + "\n  ".join(examples.strip().splitlines()))
        raise
    return args


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError("\n  ".join(problems))


def _misfits(args: Any) -> list[str]:
    """Name every option whose value is none, by the name that was typed."""
    problems = []
    wanted = get_type_hints(type(args), include_extras=True)
    for field in dataclasses.fields(args):
        value, extra = getattr(args, field.name), getattr(wanted[field.name], "__metadata__", ())
        name = field.name if _marker(Positional) in extra else f"--{field.name.replace('_', '-')}"
        limit = next((item for item in extra if isinstance(item, Range)), None)
        for item in value if isinstance(value, tuple) else (value,):
            if (isinstance(item, str) and not clean(item)) or "\0" in str(item):
                problems.append(
                    f"{name}: expected text without control characters, got {shown(item)}"
                )
            elif limit is not None:
                try:
                    fit(Annotated[type(item), limit], item)
                except ConfigError as error:
                    problems.append(f"{name}: got {shown(item)}, {error}")
    return problems + _given_twice(getattr(args, "set", ()))


def _given_twice(overrides: Sequence[str]) -> list[str]:
    """Name every key of ``--set`` that has two values; "lr" and "train.lr" are one."""
    given: dict[str, str] = {}
    problems = []
    for text in overrides:
        key, _, value = text.partition("=")
        key = key.removeprefix("train.")
        if given.setdefault(key, value) != value:
            both = f"{shown(given[key])} and {shown(value)}"
            problems.append(f"--set {shown(key)[1:-1]}: given twice, as {both}; give it once")
    return problems


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
            wrong = shown(name)[1:-1]
            problems.append(f"Unknown option {wrong}.{near_miss(name, tuple(known))}")
            problems[-1] = problems[-1].replace("'", "")
            continue
        if not equals:
            value = words[position + 1] if position + 1 < len(words) else ""
        if known[name] and value not in known[name]:
            expected = ", ".join(known[name])
            hint = near_miss(value, known[name])
            problems.append(f"{name}: expected one of {expected}; got {shown(value)}.{hint}")
    return problems


def _marker(annotation: Any) -> Any:
    """Return the object that ``annotation[T]`` leaves in the metadata of a type."""
    return annotation[str].__metadata__[0]
