"""``--set KEY=VALUE``: find the key, read the value, and refuse what does not fit; no torch."""

from __future__ import annotations

import json
import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.generators import KINDS, FitConfig, OverfitConfig, find_settings
from diffuprompt.learners import TrainConfig, find_method, settable

Sections = dict[str, dict[str, Any]]
SECTIONS: dict[str, type] = {
    "train": TrainConfig,
    "overfit": OverfitConfig,
    "fit": FitConfig,
    **{kind.section: kind.config for kind in KINDS.values()},
}
EXPECTED: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    int | None: "a whole number, or null to follow another option",
    bool: "true or false",
    str: "text",
    str | None: "text, or null for none",
    list[str]: 'a list of texts such as ["a photo of a {}."]',
}


def apply_generator_presets(sections: Sections, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Set what "diffusion.preset=NAME" stands for, in place; return the other overrides.

    They count more, wherever they stand.

    Raises:
        ConfigError: there is no such preset.
    """
    names = {f"{kind.section}.preset": kind.section for kind in KINDS.values()}
    rest = []
    for text in overrides:
        key, equals, name = text.partition("=")
        if key not in names or not equals:
            rest.append(text)
            continue
        for place, value in find_settings(names[key], name).settings.items():
            section, field = place.split(".", 1)
            sections[section][field] = value
    return tuple(rest)


def apply_overrides(sections: Sections, overrides: tuple[str, ...], learner: type) -> None:
    """Set "section.key=value" or, where only one section has it, "key=value", in place.

    ``learner`` is the dataclass of the learner's options.

    A key that training has too means training's. Whole numbers are taken for numbers, so "1" and
    "1.0" are the same rate.

    Raises:
        ConfigError: unknown or ambiguous keys, values of a wrong type or out of range; all at once.
    """
    known = [f"{s}.{k}" for s, keys in sections.items() for k in keys]
    problems = []
    for text in overrides:
        key, equals, raw = text.partition("=")
        short = [name for name in known if name == key or name.split(".", 1)[1] == key]
        if f"train.{key}" in short:
            short = [f"train.{key}"]
        if not equals or len(short) != 1:
            why = "expected KEY=VALUE" if not equals else "unknown key"
            why = f"ambiguous, one of {short}" if len(short) > 1 else why
            plain = known + [name.split(".", 1)[1] for name in known]
            problems.append(f"--set {text}: {why}.{near_miss(key, plain) if not short else ''}")
            continue
        section, name = short[0].split(".", 1)
        sections[section][name] = _value(raw)
    for section, kind in {**SECTIONS, "learner": learner}.items():
        hints = get_type_hints(kind)
        wanted = {name: hints[name] for name in sections[section]}
        problems += _fit_all(section, wanted, sections[section], kind)
    if problems:
        raise ConfigError("\n  ".join(problems))


def read_options(learner: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return only the learner's options that ``overrides`` name, in their types.

    Raises:
        ConfigError: as `apply_overrides`.
    """
    options = find_method(learner).options
    hints = {k: v for k, v in get_type_hints(type(options)).items() if k in settable(options)}
    found: dict[str, Any] = {}
    for text in overrides:
        key, equals, raw = text.partition("=")
        key = key.removeprefix("learner.")
        if not equals or key not in hints:
            hint = near_miss(key, list(hints))
            raise ConfigError(f"--set {text}: expected KEY=VALUE of {learner}.{hint}")
        found[key] = _fit(hints[key], _value(raw))
    return found


def _value(raw: str) -> Any:
    try:
        return json.loads(raw, parse_constant=lambda word: word)  # no NaN, no infinity
    except ValueError:
        return raw


def _fit_all(section: str, wanted: dict[str, Any], values: dict[str, Any], kind: type) -> list[str]:
    """Bring ``values`` to the wanted types, in place, and return the problems."""
    problems = []
    for name, want in wanted.items():
        try:
            values[name] = _fit(want, values[name])
        except ConfigError as error:
            problems.append(f"{section}.{name}: got {values[name]!r}, {error}")
    if not problems:
        try:
            kind(**values)
        except ConfigError as error:
            problems.append(str(error))
    return problems


def _fit(want: Any, value: Any) -> Any:
    """Return ``value`` as ``want``; a `ConfigError` says what was expected instead."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if want in (int, int | None) and number and value == int(value):
        return int(value)
    if want == int | None and value is None:
        return None
    if want is float and number:
        return float(value)
    if want == list[str]:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
            return list(texts)
    if get_origin(want) is Literal:
        if value in get_args(want):
            return value
        choices = get_args(want)
        raise ConfigError(f"expected one of {list(choices)}.{near_miss(str(value), choices)}")
    if want in (bool, str, str | None) and isinstance(value, want):
        return value
    raise ConfigError(f"expected {EXPECTED[want]}")
