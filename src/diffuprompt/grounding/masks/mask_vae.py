"""Stage 1, the Mask-VAE: masks to small latent maps and back (arXiv 2504.21423, section 3.2).

Legend: B mask, C latent channels, H rows, W columns of pixels; h, w of the latent map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from diffuprompt.errors import ConfigError, DataError, near_miss
from diffuprompt.grounding.masks.initial import built
from diffuprompt.grounding.masks.light_vae import LATENT, LightVae

DOWN = 8  # pixels of a latent cell


@dataclass(frozen=True, kw_only=True)
class VaeConfig:
    """Which autoencoder, and what it is trained for.

    Attributes:
        kind: "light", made for CPUs, or "reference", diffusers' `AutoencoderKL` as the release
            configures it (85,529 parameters; needs the extra).
        kl_weight: lambda; the default is the release's.
        scale: "measured": latents are normalised by what `MaskVae.measure` finds; "unit": as they
            are, like the release.
    """

    kind: Literal["light", "reference"] = "light"
    kl_weight: float = 0.00037732
    scale: Literal["measured", "unit"] = "measured"

    def __post_init__(self) -> None:
        """Raise `ConfigError` for values that cannot train."""
        if self.kind not in ("light", "reference"):
            raise ConfigError(f"vae.kind: expected light or reference, got {self.kind!r}")
        if self.scale not in ("measured", "unit"):
            raise ConfigError(f"vae.scale: expected measured or unit, got {self.scale!r}")
        if not self.kl_weight >= 0:
            raise ConfigError(f"vae.kl_weight: expected 0 or more, got {self.kl_weight}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> VaeConfig:
        """Return ``default``, ``paper`` or ``released``, with some fields changed.

        Raises:
            ConfigError: the name is unknown.
        """
        presets = {
            "default": cls(),
            "paper": cls(kind="reference"),
            "released": cls(kind="reference", scale="unit"),
        }
        if name not in presets:
            hint = near_miss(name, list(presets))
            raise ConfigError(f"preset: expected one of {sorted(presets)}, got {name!r}.{hint}")
        return replace(presets[name], **changes)


class Autoencoder(Protocol):
    """What both kinds are."""

    def moments(self, masks_B1HW: Tensor) -> Tensor:
        """Return mean and log variance ``(B, 2C, h, w)``."""

    def decode(self, z_BChw: Tensor) -> Tensor:
        """Return ``(B, 1, H, W)``."""


class MaskVae(nn.Module):
    """Encodes masks as Gaussians over ``(4, H/8, W/8)``; the generator learns their means.

    Its state dict holds the measured scale, so that stages 2 and 3 use the same.
    """

    shift: Tensor
    latent_scale: Tensor

    def __init__(self, config: VaeConfig, *, generator: torch.Generator) -> None:
        """Build it with initial weights from ``generator``.

        Raises:
            ConfigError: the kind is "reference" and diffusers cannot be imported.
        """
        super().__init__()
        self.config = config
        make = LightVae if config.kind == "light" else _reference
        self.network: nn.Module = built(make, generator)
        self.register_buffer("shift", torch.zeros(LATENT))
        self.register_buffer("latent_scale", torch.ones(()))

    def encode(self, masks_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, each ``(B, 4, H/8, W/8)``, of masks in 0..1.

        Raises:
            DataError: not one channel, or a side is no multiple of 8.
        """
        height, width = masks_B1HW.shape[-2:]
        if masks_B1HW.ndim != 4 or masks_B1HW.shape[1] != 1 or height % DOWN or width % DOWN:
            raise DataError(
                f"masks: expected (B, 1, H, W) with H and W multiples of {DOWN}, got "
                f"{tuple(masks_B1HW.shape)}; resize them"
            )
        mean, logvar = self._autoencoder.moments(masks_B1HW).chunk(2, 1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, z_BChw: Tensor) -> Tensor:
        """Return masks ``(B, 1, H, W)`` of latents as encoded; about 0..1, not clamped."""
        return self._autoencoder.decode(z_BChw)

    def losses(self, masks_B1HW: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return "loss" = mean squared error of pixels + lambda KL, with both terms.

        KL is summed over channels and averaged over masks and positions, as the release does.
        ``generator`` draws the sample of the posterior, on the host.
        """
        mean, logvar = self.encode(masks_B1HW)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        guess = self.decode(mean + (0.5 * logvar).exp() * noise)
        error = (guess - masks_B1HW).square().mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        return {"loss": error + self.config.kl_weight * kl, "mse": error, "kl": kl}

    @torch.no_grad()
    def measure(self, means_NChw: Tensor) -> None:
        """Store the mean of each channel and 1 / the deviation of all, over training means.

        With ``scale = "unit"`` nothing is stored. One factor for all channels, as in latent
        diffusion (arXiv 2112.10752, appendix G).

        Raises:
            DataError: the means do not vary.
        """
        if self.config.scale == "unit":
            return
        shift = means_NChw.double().mean((0, 2, 3))
        spread = (means_NChw.double() - shift[:, None, None]).square().mean().sqrt()
        if not spread > 0:
            raise DataError("masks: all latents are equal, so that they have no scale")
        self.shift.copy_(shift)
        self.latent_scale.copy_(1 / spread)

    def normalised(self, z_BChw: Tensor) -> Tensor:
        """Return latents as the generator learns them: centred, of unit variance."""
        return (z_BChw - self.shift[:, None, None]) * self.latent_scale

    def restored(self, z_BChw: Tensor) -> Tensor:
        """Return latents as `decode` reads them: the inverse of `normalised`."""
        return z_BChw / self.latent_scale + self.shift[:, None, None]

    @property
    def _autoencoder(self) -> Autoencoder:
        network: Any = self.network
        return network


def _reference() -> nn.Module:
    """Return diffusers' autoencoder behind the names of `Autoencoder`."""
    try:
        from diffusers import AutoencoderKL
    except ImportError as cause:
        raise ConfigError(
            f"vae.kind: 'reference' needs diffusers, which cannot be imported ({cause}); install "
            "it, or take 'light'"
        ) from cause
    kl: Any = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 8, 16, 16),
        layers_per_block=2,
        latent_channels=LATENT,
        norm_num_groups=2,
        sample_size=256,
    )
    return _Reference(kl)


class _Reference(nn.Module):
    def __init__(self, kl: nn.Module) -> None:
        super().__init__()
        self.kl: Any = kl

    def moments(self, masks_B1HW: Tensor) -> Tensor:
        return self.kl.encode(masks_B1HW).latent_dist.parameters

    def decode(self, z_BChw: Tensor) -> Tensor:
        return self.kl.decode(z_BChw).sample
