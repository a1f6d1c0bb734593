"""Which recipe a job asks for, and its values under ``--set``; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffuprompt.jobs.overrides import (
    SECTIONS,
    Sections,
    apply_generator_presets,
    apply_overrides,
    recipe_of,
)
from diffuprompt.learners import Options, Preset, changed, find_method, find_preset


def asked_preset(learner: str, preset: str, overrides: tuple[str, ...]) -> Preset | None:
    """Return the recipe that is asked for by name or by a preset of the generator, None for none.

    A learner that has none for the generator's preset keeps the recipe that "auto" means.
    """
    if preset != "auto":
        return find_preset(learner, preset)
    wanted = recipe_of(overrides)
    return next((p for p in find_method(learner).presets if p.name == wanted), None)


def override(sections: Sections, learner: str, overrides: tuple[str, ...], preset: Preset) -> None:
    """Change the sections of a recipe as ``overrides`` say; raises `ConfigError` for all faults."""
    rest = apply_generator_presets(sections, overrides, preset.name)
    kinds = {**SECTIONS, "learner": type(find_method(learner).options)}
    apply_overrides(sections, rest, kinds, "train")


def learner_options(learner: str, values: Mapping[str, Any]) -> Options:
    """Return a learner's options with these values."""
    return changed(find_method(learner).options, values, learner=learner)
