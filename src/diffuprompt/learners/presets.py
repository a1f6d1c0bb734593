"""Training recipes by name; no torch, so that the command line can list them.

``published`` recipes are those of the papers, per benchmark. ``lite`` recipes are for small towers
whose logit scale is far below CLIP's 100, where published rates under-train; their values were
chosen on held-out base classes by ``python -m tools.choose_recipes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffuprompt.errors import ConfigError, near_miss


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a learner is trained: SGD with momentum 0.9 and weight decay 5e-4, Dassl's schedule.

    Attributes:
        epochs: passes over the few-shot images.
        batch: images a step; part of the recipe.
        lr: rate after the warm-up epoch at 1e-5.
        weight_decay: applied to every learnable, as in the field's code.
        views: random crops that an image has; epoch e sees view e modulo ``views``. 0 is a fresh
            view every epoch, as published; fewer views can be cached and save most of the time.
    """

    epochs: int
    batch: int
    lr: float
    weight_decay: float = 5e-4
    views: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 1 or self.lr <= 0 or self.views < 0:
            raise ConfigError(
                f"train: expected epochs >= 0, batch >= 1, lr > 0, views >= 0, got {self}"
            )


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One named recipe of one learner."""

    learner: str
    name: str
    train: TrainConfig
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


_WORDS = {"num_ctx": 4, "ctx_init": "a photo of a"}

PRESETS: tuple[Preset, ...] = (
    Preset(
        learner="zero-shot",
        name="published",
        train=TrainConfig(epochs=0, batch=32, lr=1.0),
        source="Radford et al. 2021; one template",
    ),
    Preset(
        learner="zero-shot",
        name="ensemble",
        train=TrainConfig(epochs=0, batch=32, lr=1.0),
        options={"templates": ["imagenet-7"]},
        source="Radford et al. 2021; the seven best of 80 templates, averaged",
    ),
    Preset(
        learner="coop",
        name="base-to-new",
        train=TrainConfig(epochs=200, batch=32, lr=2e-3),
        options=_WORDS,
        source="CoOp as in the CoCoOp benchmark, arXiv 2203.05557 (50 epochs on ImageNet)",
    ),
    Preset(
        learner="coop",
        name="few-shot",
        train=TrainConfig(epochs=200, batch=32, lr=2e-3),
        options={"num_ctx": 16},
        source="arXiv 2109.01134, 16 or 8 shots (4, 2: 100 epochs; 1: 50 epochs)",
    ),
    Preset(
        learner="coop",
        name="lite",
        train=TrainConfig(epochs=50, batch=32, lr=2e-2, views=10),
        options=_WORDS,
        source="for small towers; python -m tools.choose_recipes",
    ),
    Preset(
        learner="cocoop",
        name="base-to-new",
        train=TrainConfig(epochs=10, batch=1, lr=2e-3),
        options=_WORDS,
        source="arXiv 2203.05557",
    ),
    Preset(
        learner="cocoop",
        name="few-shot",
        train=TrainConfig(epochs=10, batch=1, lr=2e-3),
        options=_WORDS,
        source="arXiv 2203.05557",
    ),
    Preset(
        learner="cocoop",
        name="lite",
        train=TrainConfig(epochs=10, batch=4, lr=2e-2, views=10),
        options=_WORDS,
        source="for small towers; python -m tools.choose_recipes",
    ),
)


def find_preset(learner: str, name: str) -> Preset:
    """Return one recipe; zero-shot is the same under every protocol's name.

    Raises:
        ConfigError: the learner has no such recipe.
    """
    own = {p.name: p for p in PRESETS if p.learner == learner}
    if not own:
        known = sorted({p.learner for p in PRESETS})
        hint = near_miss(learner, known)
        raise ConfigError(f"unknown learner {learner!r}, expected one of {known}.{hint}")
    if name in own:
        return own[name]
    if learner == "zero-shot":
        return own["published"]
    hint = near_miss(name, list(own))
    raise ConfigError(
        f"unknown preset {name!r} of {learner}, expected auto or one of {sorted(own)}.{hint}"
    )


def epochs_for_shots(preset: Preset, shots: int) -> int:
    """Return CoOp's epochs for a number of shots; other recipes do not depend on it."""
    if (preset.learner, preset.name) != ("coop", "few-shot") or shots >= 8:
        return preset.train.epochs
    return 100 if shots >= 2 else 50
