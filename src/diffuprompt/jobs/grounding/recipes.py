"""What each row of a grounding study is made of: a method, and where its maps come from; no torch.

Presets choose stages 1 and 2 and how stage 3 is trained: "default" is made for a CPU, "paper" and
"released" are Diff-Prompt's (arXiv 2504.21423) as published and as released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from diffuprompt.errors import ConfigError, near_miss

Maps = Literal["", "generated", "mean", "map", "truth", "shuffled", "noise", "independent"]
MAP_BOX = "map-box"  # boxes are read from the map, and no detector runs


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row.

    Attributes:
        method: of `grounding.METHODS`; "" reads boxes from the map.
        maps: where the maps come from; "" for methods that read none. "independent" is the map of
            an encoder that was trained alone.
        preset: of the generator, at a size for a CPU unless the job asks for the preset itself.
        settings: of the method, beside its defaults.
    """

    method: str
    maps: Maps = ""
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> bool:
        """Whether its maps are drawn by the generator."""
        return self.maps in ("generated", "mean", "shuffled")

    @property
    def generates(self) -> bool:
        """Whether its maps come from a trained network."""
        return self.samples or self.maps in ("map", "independent")

    @property
    def decodes(self) -> bool:
        """Whether its maps are decoded latents."""
        return self.samples or self.maps == "noise"


def _diff_prompt(maps: Maps) -> Recipe:
    return Recipe(method="diff-prompt", maps=maps)


RIVALS = (
    "coop",
    "vpt",
    "vfpt",
    "s-prompts",
    "maple",
    "fedtpg",
    "clip-adapter",
    "tip-adapter",
    "tip-adapter-f",
    "meta-adapter",
    "mma",
    "linear-probe",
    "lora",
    "adapter-plus",
)
RECIPES: dict[str, Recipe] = {
    "zero-shot": Recipe(method="zero-shot"),
    "diff-prompt": _diff_prompt("generated"),
    "paper": Recipe(method="paper", maps="generated", preset="paper"),
    "released": Recipe(method="released", maps="generated", preset="released"),
    "oracle": _diff_prompt("truth"),
    "regression": _diff_prompt("map"),
    "shuffled": _diff_prompt("shuffled"),
    "noise": _diff_prompt("noise"),
    "globals": Recipe(method="globals"),
    MAP_BOX: Recipe(method="", maps="map"),
    "mean-of-samples": _diff_prompt("mean"),
    "independent": _diff_prompt("independent"),
    **{name: Recipe(method=name) for name in RIVALS},
}


def find_recipe(name: str) -> Recipe:
    """Return one row; raises `ConfigError` for a name that is none."""
    if name not in RECIPES:
        known = list(RECIPES)
        raise ConfigError(f"method: expected one of {known}, got {name!r}.{near_miss(name, known)}")
    return RECIPES[name]
