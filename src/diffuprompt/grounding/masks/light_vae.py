"""A mask autoencoder for CPUs: eight times smaller maps, about 100 k parameters.

There is no norm over the map: what a cell says depends on its neighbourhood alone, so that an
autoencoder of scenes reads pictures of another size, where masks fill another share of the map.

Legend: B mask, C latent channels, H rows, W columns of pixels; h, w of the latent map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FOLD = 4  # pixels of a side that become channels at once, which is what makes it fast
LATENT = 4  # channels of the latent map


class LightVae(nn.Module):
    """Convolutions at strides 4 and 8, each followed by a residual pair."""

    def __init__(self, fine: int = 32, coarse: int = 48) -> None:
        """Build it with ``fine`` channels at stride 4 and ``coarse`` at stride 8."""
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(FOLD),
            nn.Conv2d(FOLD * FOLD, fine, 3, padding=1),
            Residual(fine),
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(coarse, 2 * LATENT, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(LATENT, coarse, 3, padding=1),
            Residual(coarse),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            Residual(fine),
            nn.SiLU(),
            nn.Conv2d(fine, FOLD * FOLD, 3, padding=1),
            nn.PixelShuffle(FOLD),
        )

    def moments(self, masks_B1HW: Tensor) -> Tensor:
        """Return mean and log variance ``(B, 2C, h, w)`` of masks in 0..1."""
        return self.encoder(masks_B1HW - 0.5)

    def decode(self, z_BChw: Tensor) -> Tensor:
        """Return ``(B, 1, H, W)``."""
        return self.decoder(z_BChw)

    def reset(self, generator: torch.Generator) -> None:
        """Begin with a narrow posterior, which tells the decoder something from the first step."""
        last = self.encoder[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        last.bias[LATENT:] = -3.0


class Residual(nn.Module):
    """``x + conv(silu(conv(silu(x))))``, at first ``x``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        return x + self.second(functional.silu(self.first(functional.silu(x))))

    def reset(self, generator: torch.Generator) -> None:
        """Begin as the identity."""
        for parameter in self.second.parameters():
            parameter.zero_()
