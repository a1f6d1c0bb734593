"""The settings of a grounding job: sections that presets fill and ``--set`` changes.

Stage 3's own settings ("method.depth=4") are checked by the method, which knows the detector.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from diffuprompt.errors import ConfigError
from diffuprompt.grounding import (
    EncoderConfig,
    GeneratorConfig,
    GeneratorFit,
    MethodFit,
    VaeConfig,
    VaeFit,
    default_fit,
    paper_fit,
)
from diffuprompt.jobs.grounding.recipes import Recipe
from diffuprompt.jobs.overrides import Sections, apply_overrides
from diffuprompt.ranges import COUNT, SAMPLES, SETTING

METHOD = "method."
SMALL: dict[str, Any] = {"width": 128, "depth": 4, "heads": 4, "kept": 6}  # for a CPU
KEPT_OF_PAPER = 9


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """How many expressions are used.

    Attributes:
        train: training expressions; 0 for all, or of a made world its own number.
        held: of these, the last so many are kept from stages 1 and 2, so that prompts are trained
            on maps as good as those of new pictures; at most a quarter.
        test: test expressions; 0 likewise.
        domain: of a made world: train on this domain alone, such as "base", the first half of the
            classes of collages; "" for the usual one.
    """

    train: Annotated[int, COUNT] = 0
    held: Annotated[int, COUNT] = 2000
    test: Annotated[int, COUNT] = 0
    domain: Annotated[str, SETTING] = ""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How maps are drawn, as far as the generator does not say it.

    Attributes:
        samples: draws of "mean-of-samples".
    """

    samples: Annotated[int, SAMPLES] = 4


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every value that a job's results depend on, beside data, detector and seed."""

    expressions: SetConfig
    vae: VaeConfig
    vae_fit: VaeFit
    generator: GeneratorConfig
    generator_fit: GeneratorFit
    sampling: SamplingConfig
    fit: MethodFit
    method: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    def counted(self, recipe: Recipe) -> dict[str, Any]:
        """Return the part of `to_json` that a row's results depend on."""
        found = {name: self.to_json()[name] for name in ("expressions", "fit", "method")}
        if recipe.decodes or (recipe.generates and recipe.maps != "independent"):
            found |= {"vae": _plain(self.vae), "vae_fit": _plain(self.vae_fit)}
        if recipe.generates:
            generator = self.generator
            read = {"encoder": _plain(generator.encoder)}
            read = read if recipe.maps == "independent" else generator.training()
            drawn = generator.sampling() if recipe.samples else {}
            found |= {"generator": {**read, **drawn}, "generator_fit": self.generator_fit.to_json()}
        if recipe.maps == "mean":
            found["sampling"] = _plain(self.sampling)
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Inverse of `to_json`; raises KeyError, TypeError or `ConfigError` for other data."""
        return cls(
            expressions=SetConfig(**data["expressions"]),
            vae=VaeConfig(**data["vae"]),
            vae_fit=VaeFit(**data["vae_fit"]),
            generator=GeneratorConfig.from_json(data["generator"]),
            generator_fit=GeneratorFit.from_json(data["generator_fit"]),
            sampling=SamplingConfig(**data["sampling"]),
            fit=MethodFit(**data["fit"]),
            method=dict(data["method"]),
        )


KINDS: dict[str, type] = {
    "expressions": SetConfig,
    "vae": VaeConfig,
    "vae_fit": VaeFit,
    "generator": GeneratorConfig,
    "encoder": EncoderConfig,
    "generator_fit": GeneratorFit,
    "sampling": SamplingConfig,
    "fit": MethodFit,
}


def settings_of(recipe: Recipe, preset: str, overrides: tuple[str, ...]) -> Settings:
    """Return the settings of a row under a preset and with ``--set``.

    With the preset "default" the rows "paper" and "released" have Diff-Prompt's construction at a
    size that a CPU can train; presets of these names have the size, too.

    Raises:
        ConfigError: unknown keys and values out of range; all at once.
    """
    base = recipe.preset if preset == "default" else preset
    generator = GeneratorConfig.preset(base)
    fit = default_fit(recipe.method or "zero-shot") if preset == "default" else paper_fit()
    if preset == "default" and base != "default":
        generator = dataclasses.replace(generator, **SMALL)
    elif base != "default":
        generator = dataclasses.replace(generator, kept=KEPT_OF_PAPER)
    own = tuple(text for text in overrides if text.startswith(METHOD))
    if own and not recipe.method:
        raise ConfigError(f"--set {own[0]}: boxes are read from maps, and no method has settings")
    parts = {
        "expressions": SetConfig(),
        "vae": VaeConfig.preset(preset),
        "vae_fit": VaeFit.preset(preset),
        "generator": generator,
        "encoder": generator.encoder,
        "generator_fit": GeneratorFit.preset(preset),
        "sampling": SamplingConfig(),
        "fit": fit,
    }
    sections: Sections = {name: _fields(part) for name, part in parts.items()}
    del sections["generator"]["encoder"]
    rest = tuple(text for text in overrides if text not in own)
    apply_overrides(sections, rest, KINDS, "fit")
    encoder = EncoderConfig(**sections.pop("encoder"))
    others = {name: values for name, values in sections.items() if name != "generator"}
    found = {name: KINDS[name](**values) for name, values in others.items()}
    changed = GeneratorConfig(**sections["generator"], encoder=encoder)
    generator_fit, alone = found["generator_fit"], recipe.maps == "independent"
    if alone or changed.condition == "pooled":  # one network to train
        asked = {text.partition("=")[0] for text in rest}
        if asked & {"generator_fit.steps", "generator_fit.epochs"}:
            found["generator_fit"] = dataclasses.replace(generator_fit, encoder_steps=0)
        else:
            found["generator_fit"] = generator_fit.of_encoder() if alone else generator_fit.of_one()
    if recipe.maps == "map" and changed.condition == "pooled":
        raise ConfigError("generator.condition: 'pooled' has no map; take 'tokens' for this method")
    method = {**recipe.settings, **_method_settings(own)}
    if recipe.method == "diff-prompt":
        method = {"maps": changed.kept, **method}
    return Settings(**found, generator=changed, method=method)


def _method_settings(overrides: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in overrides:
        key, equals, raw = text.removeprefix(METHOD).partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: expected KEY=VALUE")
        try:
            found[key] = json.loads(raw, parse_constant=lambda word: word)
        except (ValueError, RecursionError):
            found[key] = raw
    return found


def _fields(part: Any) -> dict[str, Any]:
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def _plain(value: Any) -> Any:
    if isinstance(value, GeneratorConfig | GeneratorFit):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return dict(value)
