"""``--set KEY=VALUE``: find the key, read the value, and refuse what does not fit; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.generators import KINDS, FitConfig, NamedSettings, OverfitConfig, find_settings
from diffuprompt.learners import TrainConfig, find_method, settable
from diffuprompt.ranges import fit, hints, shown

Sections = dict[str, dict[str, Any]]
SECTIONS: dict[str, type] = {
    "train": TrainConfig,
    "overfit": OverfitConfig,
    "fit": FitConfig,
    **{kind.section: kind.config for kind in KINDS.values()},
}


def generator_presets(overrides: tuple[str, ...]) -> tuple[list[NamedSettings], tuple[str, ...]]:
    """Return what "diffusion.preset=NAME" stands for, and the other overrides.

    Raises:
        ConfigError: there is no such preset.
    """
    names = {f"{kind.section}.preset": kind.section for kind in KINDS.values()}
    found, rest = [], []
    for text in overrides:
        key, equals, name = text.partition("=")
        if key in names and equals:
            found.append(find_settings(names[key], name))
        else:
            rest.append(text)
    return found, tuple(rest)


def recipe_of(overrides: tuple[str, ...]) -> str:
    """Return the learner's recipe that belongs to the generator's presets; "" for none."""
    return next((named.recipe for named in generator_presets(overrides)[0] if named.recipe), "")


def apply_generator_presets(
    sections: Sections, overrides: tuple[str, ...], recipe: str
) -> tuple[str, ...]:
    """Set what the generator's presets stand for, in place; return the other overrides.

    They count more, wherever they stand. ``recipe`` is the learner's: where it is the one that
    belongs to a preset, some values are its own.
    """
    found, rest = generator_presets(overrides)
    for named in found:
        values = dict(named.settings)
        if recipe == named.recipe:
            values |= {k: sections["train"][name] for k, name in named.from_recipe.items()}
        for place, value in values.items():
            section, field = place.split(".", 1)
            sections[section][field] = value
    return rest


def apply_overrides(
    sections: Sections, overrides: tuple[str, ...], kinds: Mapping[str, type], first: str
) -> None:
    """Set "section.key=value" or, where only one section has it, "key=value", in place.

    ``kinds`` are the dataclasses of the sections. A key that the section ``first`` has too means
    that one's. Of two values for one key the last counts: a
    file's come first, then the command line's, then those that a study varies. Whole numbers are
    taken for numbers, so "1" and "1.0" are the same rate.

    Raises:
        ConfigError: unknown or ambiguous keys, values of a wrong type or out of their range (see
            `diffuprompt.ranges`); all at once.
    """
    known = [f"{s}.{k}" for s, keys in sections.items() for k in keys]
    problems: list[str] = []
    for text in overrides:
        key, equals, raw = text.partition("=")
        short = [name for name in known if name == key or name.split(".", 1)[1] == key]
        if f"{first}.{key}" in short:
            short = [f"{first}.{key}"]
        if not equals or len(short) != 1:
            why = "expected KEY=VALUE" if not equals else "unknown key"
            why = f"ambiguous, one of {short}" if len(short) > 1 else why
            plain = known + [name.split(".", 1)[1] for name in known]
            hint = near_miss(key, plain) if not short else ""
            problems.append(f"--set {shown(text)[1:-1]}: {why}.{hint}")
            continue
        section, name = short[0].split(".", 1)
        sections[section][name] = _value(raw)
    for section, kind in kinds.items():
        wanted = {name: want for name, want in hints(kind).items() if name in sections[section]}
        problems += _fit_all(section, wanted, sections[section], kind)
    if problems:
        raise ConfigError("\n  ".join(problems))


def read_options(learner: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return only the learner's options that ``overrides`` name, in their types.

    Raises:
        ConfigError: as `apply_overrides`.
    """
    options = find_method(learner).options
    wanted = {k: v for k, v in hints(type(options)).items() if k in settable(options)}
    found: dict[str, Any] = {}
    for text in overrides:
        key, equals, raw = text.partition("=")
        key = key.removeprefix("learner.")
        if not equals or key not in wanted:
            hint = near_miss(key, list(wanted))
            what = f"--set {shown(text)[1:-1]}"
            raise ConfigError(f"{what}: expected KEY=VALUE of {learner}.{hint}")
        value = _value(raw)
        try:
            found[key] = fit(wanted[key], value)
        except ConfigError as error:
            raise ConfigError(f"learner.{key}: got {shown(value)}, {error}") from error
    return found


def _value(raw: str) -> Any:
    try:
        return json.loads(raw, parse_constant=lambda word: word)  # no NaN, no infinity
    except (ValueError, RecursionError):  # no JSON, or a text of brackets
        return raw


def _fit_all(section: str, wanted: dict[str, Any], values: dict[str, Any], kind: type) -> list[str]:
    """Bring ``values`` to the wanted types, in place, and return the problems."""
    problems = []
    for name, want in wanted.items():
        try:
            values[name] = fit(want, values[name])
        except ConfigError as error:
            problems.append(f"{section}.{name}: got {shown(values[name])}, {error}")
    if not problems:
        try:
            kind(**values)
        except ConfigError as error:
            problems.append(str(error))
    return problems
