"""Normalisers: what a generator sees of overfitted prompts has unit size, and the way back.

Learned prompts have a standard deviation near 0.02, below the smallest noise of a T = 100 schedule;
un-normalised, a diffusion model over them is only a regression (reference 1.4). Everything is
measured on training targets only and travels in the artifact.

Legend: B image, N training image, F flat, Z normalised coordinate, R principal direction.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import TokenGroup
from diffuprompt.errors import ConfigError, TrainingError, near_miss
from diffuprompt.generators.config import FitConfig
from diffuprompt.prompts import PromptSpec

WHITE_TOKEN = 16  # principal coordinates that enter a transformer as one token


class Normaliser(nn.Module):
    """Prompts ``(B, F)`` to coordinates ``z`` ``(B, Z)`` of unit size, and back.

    Until it has measured targets it decodes everything to the learner's own prompts, exactly: so
    does an untrained generator, whatever its network answers.
    """

    groups: list[TokenGroup]

    def __init__(self, spec: PromptSpec) -> None:
        """Describe z as tokens: one for every prompt vector."""
        super().__init__()
        self.spec = spec
        self.groups = [
            TokenGroup(slot.classes * slot.length, slot.width, slot.tower) for slot in spec.slots
        ]

    @property
    def size(self) -> int:
        """Z, the number of coordinates."""
        return sum(group.count * group.width for group in self.groups)

    def measure(self, initial_NF: Tensor, target_NF: Tensor) -> dict[str, float]:
        """Take the sizes from training targets; return what is worth recording.

        Raises:
            TrainingError: a part of the targets equals the initial prompts, or is not finite.
        """
        raise NotImplementedError

    def encode(self, flat_BF: Tensor, initial_BF: Tensor) -> Tensor:
        """Return z ``(B, Z)`` of prompts, given the learner's own."""
        raise NotImplementedError

    def decode(self, z_BZ: Tensor, initial_BF: Tensor) -> Tensor:
        """Return the prompts ``(B, F)`` of z; ``initial`` is ``(B|1, F)``."""
        raise NotImplementedError


class Residual(Normaliser):
    """The residual to the learner's prompts over its RMS, one number per tower or per token."""

    scale: Tensor

    def __init__(self, spec: PromptSpec, *, per_token: bool) -> None:
        super().__init__(spec)
        self.per_token = per_token
        self.register_buffer("scale", torch.zeros(spec.size))

    def measure(self, initial_NF: Tensor, target_NF: Tensor) -> dict[str, float]:
        """Take the RMS of the residuals."""
        scale = residual_scale(self.spec, initial_NF, target_NF, per_token=self.per_token)
        self.scale.copy_(scale)
        return {}

    def encode(self, flat_BF: Tensor, initial_BF: Tensor) -> Tensor:
        """Return ``(V - V0) / s``."""
        return (flat_BF - initial_BF) / self.scale

    def decode(self, z_BZ: Tensor, initial_BF: Tensor) -> Tensor:
        """Return ``V0 + s z``."""
        return initial_BF + self.scale * z_BZ


class Whitened(Normaliser):
    """Principal coordinates of the residuals, each divided by its RMS (reference 5.8).

    Not centred: z = 0 stays the learner's own prompts. Residuals are divided by each tower's RMS
    first, or the larger tower would own every direction. What lies outside the kept directions is
    lost; directions beyond the span of the training residuals stay empty. Neighbouring
    coordinates share a token, and no two tokens share a codec.
    """

    basis: Tensor
    scale: Tensor
    size_R: Tensor

    def __init__(self, spec: PromptSpec, rank: int) -> None:
        super().__init__(spec)
        rank = min(rank, spec.size)
        full, rest = divmod(rank, WHITE_TOKEN)
        widths = [WHITE_TOKEN] * full + [rest] * bool(rest)
        self.groups = [TokenGroup(1, width, f"white.{i}") for i, width in enumerate(widths)]
        self.register_buffer("scale", torch.zeros(spec.size))
        self.register_buffer("basis", torch.zeros(rank, spec.size))
        self.register_buffer("size_R", torch.zeros(rank))

    def measure(self, initial_NF: Tensor, target_NF: Tensor) -> dict[str, float]:
        """Take the principal directions; ``normaliser_explained`` is their share of the energy."""
        self.scale.copy_(residual_scale(self.spec, initial_NF, target_NF))
        unit_NF = (target_NF - initial_NF) / self.scale
        # on the host: accelerators may have no float64
        _, values, basis = torch.linalg.svd(unit_NF.cpu().double(), full_matrices=False)
        # below float32 rounding of the residuals a direction is noise
        kept = min(len(self.size_R), int((values > 1e-5 * values[0]).sum()))
        self.basis.zero_()
        self.size_R.zero_()
        self.basis[:kept].copy_(_signed(basis[:kept]).to(self.basis.dtype))
        self.size_R[:kept].copy_((values[:kept] / len(unit_NF) ** 0.5).to(self.size_R.dtype))
        energy = values.square()
        return {
            "normaliser_rank": float(kept),
            "normaliser_explained": float(energy[:kept].sum() / energy.sum()),
        }

    def encode(self, flat_BF: Tensor, initial_BF: Tensor) -> Tensor:
        """Return the coordinates; 0 in empty directions."""
        z_BR = ((flat_BF - initial_BF) / self.scale) @ self.basis.T
        return z_BR / self.size_R.where(self.size_R > 0, 1.0)

    def decode(self, z_BZ: Tensor, initial_BF: Tensor) -> Tensor:
        """Return ``V0`` plus the directions weighted by z."""
        return initial_BF + self.scale * ((z_BZ * self.size_R) @ self.basis)


class Unnormalised(Normaliser):
    """No normalisation: z is V* itself, as the paper's equations read (arXiv 2410.20164)."""

    measured: Tensor

    def __init__(self, spec: PromptSpec) -> None:
        super().__init__(spec)
        self.register_buffer("measured", torch.zeros(1, dtype=torch.bool))

    def measure(self, initial_NF: Tensor, target_NF: Tensor) -> dict[str, float]:
        """Only note that there are targets."""
        residual_scale(self.spec, initial_NF, target_NF)  # targets that did not move teach nothing
        self.measured.fill_(True)
        return {}

    def encode(self, flat_BF: Tensor, initial_BF: Tensor) -> Tensor:
        """Return the prompts."""
        return flat_BF

    def decode(self, z_BZ: Tensor, initial_BF: Tensor) -> Tensor:
        """Return z, or the learner's own prompts as long as nothing was measured."""
        return torch.where(self.measured, z_BZ, initial_BF)


NORMALISERS = ("residual_global", "residual_token", "whiten", "none")


def make_normaliser(config: FitConfig, spec: PromptSpec) -> Normaliser:
    """Return the normaliser that ``config`` names, with nothing measured yet.

    Raises:
        ConfigError: the name is unknown.
    """
    name = config.normaliser
    if name in ("residual_global", "residual_token"):
        return Residual(spec, per_token=name == "residual_token")
    if name == "whiten":
        return Whitened(spec, config.rank)
    if name == "none":
        return Unnormalised(spec)
    hint = near_miss(name, NORMALISERS)
    raise ConfigError(f"fit.normaliser: expected one of {list(NORMALISERS)}, got {name!r}.{hint}")


def residual_scale(
    spec: PromptSpec, initial_NF: Tensor, target_NF: Tensor, *, per_token: bool = False
) -> Tensor:
    """Return ``s`` ``(F,)``: the RMS of ``target - initial`` over images.

    One number per tower, or with ``per_token`` one per prompt vector.

    Raises:
        TrainingError: the targets equal the initial prompts, so there is nothing to model.
    """
    residual, scale = target_NF - initial_NF, torch.ones(spec.size, device=target_NF.device)
    shared = _places(spec, per_token=per_token)
    every = []
    for places in shared.values():
        rms = torch.cat([residual[:, at].flatten() for at in places]).square().mean().sqrt()
        every.append(rms)
        for at in places:
            scale[at] = rms
    for (tower, *_), size in zip(shared, torch.stack(every).cpu().tolist(), strict=True):
        if not size > 0:
            raise TrainingError(
                f"overfitting did not move the {tower} prompts; raise overfit.steps or overfit.lr"
            )
    return scale


def _places(spec: PromptSpec, *, per_token: bool) -> dict[tuple[Hashable, ...], list[slice]]:
    """Return the slices of the flat vector that share a scale: (tower, ...) -> slices."""
    places: dict[tuple[Hashable, ...], list[slice]] = {}
    start = 0
    for slot in spec.slots:
        size = slot.width if per_token else slot.size
        for part in range(slot.size // size):
            key = (slot.tower, slot.name, part) if per_token else (slot.tower,)
            places.setdefault(key, []).append(slice(start, start + size))
            start += size
    return places


def _signed(basis_RF: Tensor) -> Tensor:
    """Turn every direction so that its largest coordinate is positive: one answer everywhere."""
    largest = basis_RF.gather(1, basis_RF.abs().argmax(1, keepdim=True))
    return basis_RF * largest.sign()
