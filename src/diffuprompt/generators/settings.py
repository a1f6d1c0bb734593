"""Settings of generators by name; no torch, so the command line can list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffuprompt.errors import ConfigError, near_miss


@dataclass(frozen=True, kw_only=True)
class NamedSettings:
    """``settings`` maps "section.key" to values; ``about`` says where they are from."""

    section: str
    name: str
    about: str
    settings: Mapping[str, Any]


NAMED_SETTINGS: tuple[NamedSettings, ...] = (
    NamedSettings(
        section="diffusion",
        name="paper",
        about="as printed (arXiv 2410.20164); where it is silent, by the code of ProtoDiff",
        settings={
            "overfit.steps": 5,
            "overfit.optimiser": "sgd",
            "fit.mode": "joint",
            "fit.recipe": "sgd",
            "fit.lr": 0.0035,
            "fit.weight_decay": 5e-4,
            "fit.epochs": 50,
            "fit.batch": 32,
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
    ),
)


def find_settings(section: str, name: str) -> NamedSettings:
    """Return named settings of a section; raises `ConfigError` with the near miss."""
    known = {named.name: named for named in NAMED_SETTINGS if named.section == section}
    if name not in known:
        hint = near_miss(name, list(known))
        raise ConfigError(f"{section}.preset: expected one of {list(known)}, got {name!r}.{hint}")
    return known[name]
