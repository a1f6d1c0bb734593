"""A frozen photographic trunk: a backbone's stem as what a small detector reads for pixels.

Legend: B image, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.checkpoints import load_clip
from diffuprompt.clip import EfficientNetLite0
from diffuprompt.errors import CheckpointError


class Trunk(nn.Module):
    """Normalised pixels to one map at stride 8: the stem's maps at strides 8, 16 and 32.

    Each map is normalised over its channels at every place, as their scales differ, and the coarse
    ones are upsampled bilinearly. Frozen, also when the detector around it learns.
    """

    def __init__(self, stem: EfficientNetLite0) -> None:
        super().__init__()
        self.stem = stem.requires_grad_(False)

    @property
    def channels(self) -> int:
        """Channels of the map."""
        return sum(self.stem.channels)

    @torch.no_grad()
    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return ``(B, channels, H / 8, W / 8)``, rounded up."""
        levels = [_normalised(x) for x in self.stem.maps(pixels_BCHW)]
        size = levels[0].shape[-2:]
        coarse = [functional.interpolate(x, size, mode="bilinear") for x in levels[1:]]
        return torch.cat([levels[0], *coarse], 1)


def load_trunk(backbone: str) -> Trunk:
    """Return the frozen trunk of a backbone; its name is what `load_clip` takes.

    Raises:
        CheckpointError: it is not at hand, or has no such stem.
    """
    stem = load_clip(backbone).vision.stem
    if not isinstance(stem, EfficientNetLite0):
        raise CheckpointError(
            f"{backbone}: expected a backbone with an EfficientNet-Lite0 stem, such as "
            "photo-clip-lite, got one without"
        )
    return Trunk(stem)


def _normalised(map_BCHW: Tensor) -> Tensor:
    return functional.layer_norm(map_BCHW.permute(0, 2, 3, 1), map_BCHW.shape[1:2]).permute(
        0, 3, 1, 2
    )
