"""Settings of the latent prompt generator, and the named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.grounding.masks.dit import DitConfig
from diffuprompt.grounding.masks.encoder import EncoderConfig
from diffuprompt.grounding.masks.trajectory import Grid, Keep

SAMPLING = ("sampling_schedule", "grid", "sampler", "nfe", "keep", "kept", "guidance")
EARLIER = {"blind": 0.0, "guidance": 1.0}  # what files mean that do not say these
ConditionKind = Literal["tokens", "pooled"]
NoiseSchedule = Literal["cosine", "linear"]


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """How latents are generated; the defaults are made for a CPU.

    Attributes:
        condition: "tokens" of the frozen detector, or "pooled" features of CLIP, the paper's.
        prediction: what the network predicts.
        schedule: of the noise.
        steps: T.
        sampling_schedule: of the noise when sampling: the "same", or another one by name, which
            is what the release does by mistake.
        noise: levels in training: "time" between the steps, too, or the integer "steps".
        grid: levels in sampling: "discrete" from the largest noise, or the reference's "leading".
        sampler: of the diffusion core, by name.
        nfe: points of that grid.
        keep: what of a trajectory the prompts are made of, see `follow`.
        kept: how many.
        width: of the network.
        depth: likewise.
        heads: likewise.
        patch: likewise.
        positions: of the network, see `DitConfig`.
        learn_sigma: whether it learns variances, too.
        encoder: of the "tokens" condition.
        mask_weight: of the losses of the encoder's map.
        draws: noise levels per expression and step; the encoder, which costs most, runs once.
        blind: share of these that are denoised without the condition, which guidance needs.
        guidance: w of ``D0 + w (D1 - D0)``, D1 with and D0 without the condition (arXiv 2207.12598;
            DiT, arXiv 2212.09748, section 3.1). 1 draws from what was learned; more keeps a sample
            to what is probable, as one that follows an improbable reading finds another object.
        ema: decay of the averaged weights.
    """

    condition: ConditionKind = "tokens"
    prediction: Literal["x0", "eps", "v"] = "v"
    schedule: NoiseSchedule = "cosine"
    steps: int = 100
    sampling_schedule: Literal["same", "cosine", "linear"] = "same"
    noise: Literal["time", "steps"] = "time"
    grid: Grid = "discrete"
    sampler: str = "dpmpp_2m"
    nfe: int = 8
    keep: Keep = "estimates"
    kept: int = 4
    width: int = 128
    depth: int = 3
    heads: int = 4
    patch: int = 2
    positions: Literal["absolute", "relative"] = "relative"
    learn_sigma: bool = False
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    mask_weight: float = 1.0
    draws: int = 2
    blind: float = 0.15
    guidance: float = 3.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        """Raise `ConfigError` for what cannot be; all problems at once."""
        choices = {
            "condition": ("tokens", "pooled"),
            "prediction": ("x0", "eps", "v"),
            "schedule": ("cosine", "linear"),
            "sampling_schedule": ("same", "cosine", "linear"),
            "noise": ("time", "steps"),
            "grid": ("leading", "discrete"),
            "keep": ("states", "estimates"),
        }
        problems = [
            f"{name}: expected one of {list(known)}, got {getattr(self, name)!r}"
            for name, known in choices.items()
            if getattr(self, name) not in known
        ]
        problems += [
            f"{name}: expected at least 1, got {getattr(self, name)}"
            for name in ("steps", "nfe", "kept", "draws")
            if getattr(self, name) < 1
        ]
        if not self.mask_weight >= 0:
            problems.append(f"mask_weight: expected 0 or more, got {self.mask_weight}")
        if not 0 <= self.blind < 1:
            problems.append(f"blind: expected 0 to below 1, got {self.blind}")
        if not self.guidance >= 0:
            problems.append(f"guidance: expected 0 or more, got {self.guidance}")
        if self.guidance != 1 and not self.blind:
            problems.append(
                f"guidance: {self.guidance} needs a network that was also trained without the "
                "condition (blind above 0)"
            )
        if self.learn_sigma and self.blind:
            problems.append(f"blind: expected 0 with learn_sigma, got {self.blind}")
        if self.learn_sigma and self.prediction != "eps":
            problems.append(f"learn_sigma: needs prediction 'eps', got {self.prediction!r}")
        if problems:
            raise ConfigError("generator: " + "; ".join(problems))
        self.network(0)  # raises for impossible sizes

    @classmethod
    def preset(cls, name: str, **changes: Any) -> GeneratorConfig:
        """Return ``default``, ``paper`` or ``released``, with some fields changed.

        "released" differs from "paper" as the release does: the network is trained on another
        schedule than it is sampled with, and it learns variances.

        Raises:
            ConfigError: the name is unknown.
        """
        paper = cls(
            condition="pooled",
            prediction="eps",
            noise="steps",
            grid="leading",
            sampler="ddim",
            nfe=25,
            keep="states",
            kept=9,
            width=512,
            depth=12,
            heads=8,
            positions="absolute",
            draws=1,
            blind=0.0,
            guidance=1.0,
            ema=0.9999,
        )
        presets = {
            "default": cls(),
            "paper": paper,
            "released": replace(
                paper, schedule="linear", sampling_schedule="cosine", learn_sigma=True
            ),
        }
        if name not in presets:
            hint = near_miss(name, list(presets))
            raise ConfigError(f"preset: expected one of {sorted(presets)}, got {name!r}.{hint}")
        return replace(presets[name], **changes)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GeneratorConfig:
        """Inverse of `to_json`; what a file does not say is as in `EARLIER`."""
        return cls(**{**EARLIER, **data, "encoder": EncoderConfig(**data["encoder"])})

    def to_json(self) -> dict[str, Any]:
        """Return the fields, without those that say what `EARLIER` does."""
        return {**self.training(), **self.sampling()}

    def training(self) -> dict[str, Any]:
        """Return the fields of `to_json` that decide what is trained."""
        return {k: v for k, v in asdict(self).items() if k not in SAMPLING and _counts(k, v)}

    def sampling(self) -> dict[str, Any]:
        """Return the fields of `to_json` that decide how a trained generator is sampled."""
        return {k: getattr(self, k) for k in SAMPLING if _counts(k, getattr(self, k))}

    def network(self, maps: int) -> DitConfig:
        """Return the network's sizes for ``maps`` channels of condition maps."""
        return DitConfig(
            learn_sigma=self.learn_sigma,
            patch=self.patch,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            maps=maps,
            positions=self.positions,
        )


def _counts(name: str, value: Any) -> bool:
    """Whether a key names a field: keys of before knew none of those in `EARLIER`."""
    return name not in EARLIER or value != EARLIER[name]
