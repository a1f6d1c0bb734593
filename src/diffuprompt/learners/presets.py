"""Training recipes by name; no torch, so that the command line can list them.

Recipes are named after the benchmark they were published for. ``lite`` recipes are for small towers
whose logit scale is far below CLIP's 100, where published rates under-train; their values are
chosen on held-out base classes by ``python -m tools.choose_recipes``.
"""

from __future__ import annotations

from math import ceil

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.methods import METHODS

__all__ = [
    "Preset",
    "TrainConfig",
    "all_presets",
    "automatic_preset",
    "epochs_for_shots",
    "find_method",
    "find_preset",
]

BENCHMARKS = ("base-to-new", "cross-dataset", "domain", "few-shot", "lite")


def all_presets() -> tuple[Preset, ...]:
    """Return the recipes of all learners."""
    return tuple(preset for method in METHODS.values() for preset in method.presets)


def find_method(name: str) -> Method:
    """Return a method by name; raises `ConfigError` with the near miss."""
    if name not in METHODS:
        known = list(METHODS)
        hint = near_miss(name, known)
        raise ConfigError(f"unknown learner {name!r}, expected one of {known}.{hint}")
    return METHODS[name]


def find_preset(learner: str, name: str) -> Preset:
    """Return one recipe; "published" is the learner's first.

    A learner that is not trained is the same under every benchmark's name.

    Raises:
        ConfigError: the learner has no such recipe.
    """
    method = find_method(learner)
    own = {p.name: p for p in method.presets}
    if name in own:
        return own[name]
    untrained = not method.presets[0].train.epochs
    if name == "published" or (untrained and name in BENCHMARKS):
        return method.presets[0]
    hint = near_miss(name, list(own))
    raise ConfigError(
        f"unknown preset {name!r} of {learner}, expected auto or one of {sorted(own)}.{hint}"
    )


def automatic_preset(learner: str, benchmark: str, *, lite: bool) -> Preset:
    """Return the recipe that "auto" means.

    It is ``lite`` where that is asked for and there is one; else the benchmark's; else, for a
    benchmark that the authors did not publish, the method's first.
    """
    own = {p.name: p for p in find_method(learner).presets}
    wanted = [name for name in (["lite"] if lite else []) + [benchmark] if name in own]
    return own[wanted[0]] if wanted else find_method(learner).presets[0]


def epochs_for_shots(
    preset: Preset,
    shots: int,
    *,
    images: int = 0,
    classes: int = 0,
    train: TrainConfig | None = None,
) -> int:
    """Return the recipe's epochs for a number of shots; most do not depend on it.

    Args:
        preset: the recipe.
        shots: as asked for; a recipe that counts steps makes none for those that are not there.
        images: training images; 0 where it is not known.
        classes: that these images are of.
        train: how it is trained, whose batches are counted; by default as the recipe says.
    """
    if preset.steps_per_shot and images:
        there = min(shots, ceil(images / max(classes, 1)))
        steps = (train or preset.train).steps_per_epoch(images)
        return max(round(preset.steps_per_shot * there / steps), 1)
    fewer = [epochs for below, epochs in sorted(preset.fewer_epochs) if shots < below]
    return fewer[0] if fewer else preset.train.epochs
