"""Settings of generators by name; no torch, so the command line can list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffuprompt.errors import ConfigError, near_miss


@dataclass(frozen=True, kw_only=True)
class NamedSettings:
    """Values of many settings by one name.

    Attributes:
        section: whose ``preset`` key the name is given to.
        name: of the settings.
        about: where they are from.
        settings: "section.key" -> value.
        recipe: the learner's recipe that belongs to them; "" for none.
        from_recipe: "section.key" -> the field of that recipe's training whose value it takes.
    """

    section: str
    name: str
    about: str
    settings: Mapping[str, Any]
    recipe: str = ""
    from_recipe: Mapping[str, str] = field(default_factory=dict)


NAMED_SETTINGS: tuple[NamedSettings, ...] = (
    NamedSettings(
        section="diffusion",
        name="paper",
        about="as printed (arXiv 2410.20164, section 5.1), with the learner's recipe of that name; "
        "docs/deviations.md says what is ours",
        settings={
            "overfit.steps": 5,
            "overfit.optimiser": "sgd",
            "fit.mode": "joint",
            "fit.recipe": "sgd",
            "fit.lr": 0.0035,
            "fit.weight_decay": 5e-4,
            "fit.epochs": 50,
            "fit.batch": 32,  # of a learner without such a recipe
            "fit.ema": 0.0,
            "fit.beta": 1.0,
            "fit.ce_weight": 1.0,
            "fit.ce_samples": 0,
            "fit.pi": "meta_net",
            "fit.normaliser": "none",
            "diffusion.network": "paper",
            "diffusion.schedule": "linear",
            "diffusion.steps": 100,
            "diffusion.prediction": "x0",
            "diffusion.noise": "steps",
            "diffusion.weight": "unit",
            "diffusion.sigma_start": 221.5,
            "diffusion.grid": "log_snr",
            "diffusion.sampler": "amed",
            "diffusion.nfe": 5,
        },
        recipe="paper",
        from_recipe={"fit.batch": "batch"},  # one batch for learner and generator: CoCoOp's is 4
    ),
)


def find_settings(section: str, name: str) -> NamedSettings:
    """Return named settings of a section; raises `ConfigError` with the near miss."""
    known = {named.name: named for named in NAMED_SETTINGS if named.section == section}
    if name not in known:
        hint = near_miss(name, list(known))
        raise ConfigError(f"{section}.preset: expected one of {list(known)}, got {name!r}.{hint}")
    return known[name]
