"""How long and how fast stages 1 and 2 are trained: recipes, and the named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from diffuprompt.engine import Optimiser
from diffuprompt.errors import ConfigError, near_miss


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What both stages have in common.

    Attributes:
        steps: updates; 0 where ``epochs`` says how long.
        epochs: passes over the set, each of whole batches; 0 where ``steps`` says how long.
        batch: expressions of an update.
        lr: peak rate.
        kind: of the optimiser.
        schedule: of the rate; its warm-up is linear.
        warmup: steps of it.
        weight_decay: of matrices and kernels.
        clip_norm: largest norm of the gradient.
    """

    steps: int = 0
    epochs: int = 0
    batch: int = 64
    lr: float = 1e-3
    kind: Literal["adam", "adamw"] = "adamw"
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        """Raise `ConfigError` for what cannot train."""
        if self.batch < 1 or (self.steps > 0) == (self.epochs > 0):
            raise ConfigError(
                f"fit: expected a batch of 1 or more and either steps or epochs, got batch "
                f"{self.batch}, steps {self.steps} and epochs {self.epochs}"
            )
        self.optimiser()  # raises for its own fields

    def optimiser(self) -> Optimiser:
        """Return the engine's."""
        return Optimiser(
            kind=self.kind,
            lr=self.lr,
            schedule=self.schedule,
            warmup_steps=self.warmup,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )

    def plan(self, count: int) -> dict[str, Any]:
        """Return "epochs" and "steps_per_epoch" of the engine's `train` for ``count`` rows."""
        if self.steps:
            return {"epochs": 1, "steps_per_epoch": self.steps}
        return {"epochs": self.epochs, "steps_per_epoch": max(1, count // self.batch)}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return ``default``, ``paper`` or ``released``, with some fields changed.

        Raises:
            ConfigError: the name is unknown.
        """
        presets = cls.presets()
        if name not in presets:
            hint = near_miss(name, list(presets))
            raise ConfigError(f"preset: expected one of {sorted(presets)}, got {name!r}.{hint}")
        return replace(presets[name], **changes)

    @classmethod
    def presets(cls) -> dict[str, Self]:
        """Return the recipes by name."""
        return {"default": cls()}


@dataclass(frozen=True, kw_only=True)
class VaeFit(Recipe):
    """Training of the Mask-VAE.

    The paper's rate of 0.05 may diverge, which the loop reports; the release has a tenth of it,
    that falls by a twentieth every epoch, where ours follows a cosine.
    """

    steps: int = 500
    lr: float = 3e-3
    kind: Literal["adam", "adamw"] = "adam"
    warmup: int = 30
    clip_norm: float | None = 1.0

    @classmethod
    def presets(cls) -> dict[str, Self]:
        """Return the recipes by name."""
        paper = cls(steps=0, epochs=200, batch=128, lr=0.05, warmup=0, clip_norm=None)
        return {
            "default": cls(),
            "paper": paper,
            "released": replace(paper, batch=64, lr=0.005),
        }


@dataclass(frozen=True, kw_only=True)
class GeneratorFit(Recipe):
    """Training of the latent generator.

    Attributes:
        encoder_steps: updates of the encoder alone, before those of the network, which then reads
            it frozen; 0 where both learn together, or where there is no encoder.
    """

    steps: int = 2000
    encoder_steps: int = 4000
    batch: int = 32
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0

    @classmethod
    def presets(cls) -> dict[str, Self]:
        """Return the recipes by name."""
        paper = cls(
            steps=0,
            encoder_steps=0,
            epochs=100,
            batch=128,
            lr=1e-4,
            schedule="constant",
            warmup=0,
            weight_decay=0.0,
            clip_norm=None,
        )
        return {"default": cls(), "paper": paper, "released": paper}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GeneratorFit:
        """Inverse of `to_json`."""
        return cls(**{"encoder_steps": 0, **data})

    def to_json(self) -> dict[str, Any]:
        """Return the fields; keys of before know no ``encoder_steps``, so 0 is left out."""
        return {k: v for k, v in asdict(self).items() if k != "encoder_steps" or v}

    def of_encoder(self) -> GeneratorFit:
        """Return how the encoder alone is trained; as it is, where there is no such part."""
        if not self.encoder_steps:
            return self
        return replace(self, steps=self.encoder_steps, epochs=0, encoder_steps=0)

    def of_one(self) -> GeneratorFit:
        """Return the same where there is one network to train: it has the steps of both."""
        if not self.encoder_steps:
            return self
        return replace(self, steps=self.steps + self.encoder_steps, encoder_steps=0)
