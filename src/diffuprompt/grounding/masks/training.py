"""How stages 1 and 2 are trained: tasks of the engine's loop, and their recipes.

Legend: N expression of the set, B of a batch, C latent channels, H rows, W columns of pixels; h, w
of the latent map.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import Ema
from diffuprompt.engine import Optimiser, sent, torch_stream
from diffuprompt.errors import ConfigError, DataError, near_miss
from diffuprompt.grounding.masks.condition import Condition
from diffuprompt.grounding.masks.mask_vae import MaskVae

CHUNK = 256  # masks that are encoded at once


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
    """Training of the latent generator."""

    steps: int = 1200
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
            epochs=100,
            batch=128,
            lr=1e-4,
            schedule="constant",
            warmup=0,
            weight_decay=0.0,
            clip_norm=None,
        )
        return {"default": cls(), "paper": paper, "released": paper}


class Batches:
    """Which rows a step sees: passes over all of them in new orders, whole batches only."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        """Draw from ``count`` rows.

        Raises:
            DataError: there are none.
        """
        if count < 1:
            raise DataError("masks: there is nothing to train on")
        self.count, self.batch, self.seed = count, min(batch, count), seed
        self._order: tuple[tuple[int, int], Tensor] | None = None

    def rows(self, epoch: int, step: int) -> Tensor:
        """Return the rows ``(B,)`` of a step, from (seed, epoch, step) alone."""
        passed, place = divmod(step, self.count // self.batch)
        if self._order is None or self._order[0] != (epoch, passed):
            stream = torch_stream(self.seed, "order", epoch, passed)
            self._order = ((epoch, passed), torch.randperm(self.count, generator=stream))
        return self._order[1][place * self.batch : (place + 1) * self.batch]


class VaeTask:
    """Trains a `MaskVae`; afterwards `mean_latents` measures their scale."""

    def __init__(self, vae: MaskVae, masks_NHW: Tensor, *, batch: int, seed: int) -> None:
        """Take masks on the host: uint8 in 0..255, bool, or numbers in 0..1.

        Raises:
            DataError: bytes are 0 and 1 only, or there are no masks.
        """
        _check_bytes(masks_NHW)
        self.vae, self.masks, self.seed = vae, masks_NHW, seed
        self.batches = Batches(len(masks_NHW), batch, seed)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the autoencoder's."""
        return self.vae.parameters()

    def state(self) -> dict[str, Any]:
        """Return its weights."""
        return {"weights": self.vae.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.vae.load_state_dict(state["weights"])

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the losses of a batch."""
        masks = _masks(self.masks, self.batches.rows(epoch, step), self.vae.shift.device)
        return self.vae.losses(masks, torch_stream(self.seed, "posterior", epoch, step))

    def after_step(self, epoch: int, step: int) -> None:
        """Nothing follows."""

    def after_epoch(self, epoch: int) -> None:
        """Nothing follows."""


@torch.no_grad()
def mean_latents(vae: MaskVae, masks_NHW: Tensor, *, measure: bool = False) -> Tensor:
    """Return the normalised means ``(N, C, h, w)`` of masks, on the host.

    Args:
        vae: trained.
        masks_NHW: as for `VaeTask`.
        measure: whether the scale is measured on these masks first: once, on the training set.
    """
    parts = torch.arange(len(masks_NHW)).split(CHUNK)
    device = vae.shift.device
    means = [vae.encode(_masks(masks_NHW, rows, device))[0].cpu() for rows in parts]
    found = torch.cat(means)
    if measure:
        vae.measure(found)
    return vae.normalised(found.to(device)).cpu()


class Trained(Protocol):
    """What `GeneratorTask` trains: `MaskGenerator` or `IndependentMasks`."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the learnables."""

    def state_dict(self) -> dict[str, Any]:
        """Return the weights."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take weights back."""

    def losses(
        self,
        condition: Condition,
        latents_BChw: Tensor,
        masks_B1HW: Tensor,
        stream: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return "loss" and its terms."""


class GeneratorTask:
    """Trains a generator on conditions, latents and masks of a whole set, kept on the host.

    `averaged` are the weights to use afterwards, as published ones are (reference, item 13).
    """

    def __init__(
        self,
        generator: Trained,
        conditions: Condition,
        latents_NChw: Tensor,
        masks_NHW: Tensor,
        *,
        batch: int,
        seed: int,
        ema: float = 0.999,
    ) -> None:
        """Take the set.

        Args:
            generator: what is trained.
            conditions: of all expressions; half precision is widened batch by batch.
            latents_NChw: normalised means of their masks, see `mean_latents`.
            masks_NHW: as for `VaeTask`.
            batch: expressions of a step.
            seed: of order and noise.
            ema: decay of the averaged weights.

        Raises:
            DataError: the parts are not of the same expressions, or bytes are 0 and 1 only.
        """
        counts = (len(conditions), len(latents_NChw), len(masks_NHW))
        if len(set(counts)) > 1:
            raise DataError(
                "generator: expected one condition, latent and mask per expression, got "
                f"{counts[0]}, {counts[1]} and {counts[2]}"
            )
        _check_bytes(masks_NHW)
        self.generator, self.seed = generator, seed
        self.conditions, self.latents, self.masks = conditions, latents_NChw, masks_NHW
        self.batches = Batches(counts[0], batch, seed)
        self.ema = Ema(generator.parameters(), ema)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the generator's."""
        return self.generator.parameters()

    def state(self) -> dict[str, Any]:
        """Return the weights and their averages."""
        return {"generator": self.generator.state_dict(), "ema": self.ema.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.generator.load_state_dict(state["generator"])
        self.ema.load_state(state["ema"])

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the losses of a batch."""
        rows = self.batches.rows(epoch, step)
        device = next(iter(self.generator.parameters())).device
        return self.generator.losses(
            self.conditions.rows(rows).to(torch.float32, device),
            sent(self.latents[rows].float(), device),
            _masks(self.masks, rows, device),
            torch_stream(self.seed, "noise", epoch, step),
        )

    def after_step(self, epoch: int, step: int) -> None:
        """Average the weights."""
        self.ema.update()

    def after_epoch(self, epoch: int) -> None:
        """Nothing follows."""

    def averaged(self) -> dict[str, Tensor]:
        """Return the state dict with averaged weights."""
        with self.ema.swapped():
            return {name: value.clone() for name, value in self.generator.state_dict().items()}


def _masks(masks_NHW: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Return masks ``(B, 1, H, W)`` in 0..1 of some rows."""
    masks = sent(masks_NHW[rows], device)[:, None]
    return masks.float() / 255 if masks.dtype == torch.uint8 else masks.float()


def _check_bytes(masks_NHW: Tensor) -> None:
    if masks_NHW.dtype == torch.uint8 and masks_NHW.numel() and int(masks_NHW.max()) == 1:
        raise DataError("masks: bytes are read as 0..255, got 0 and 1 only; pass them as bool")
