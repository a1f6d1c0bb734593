"""Feature pyramid (arXiv 1612.03144) of GLIP: laterals, top-down sums, two coarser levels.

Parameters have GLIP's names.

Legend: B image, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class Pyramid(nn.Module):
    """Maps of the backbone, fine to coarse, to maps of ``channels``; ``extra`` levels more.

    The names count from ``first``, as GLIP counts the stages of its Swin from 1.
    """

    def __init__(
        self, widths: Sequence[int], channels: int, *, extra: int = 2, first: int = 2
    ) -> None:
        super().__init__()
        self.names = tuple(range(first, first + len(widths)))
        for name, width in zip(self.names, widths, strict=True):
            self.add_module(f"fpn_inner{name}", nn.Conv2d(width, channels, 1))
            self.add_module(f"fpn_layer{name}", nn.Conv2d(channels, channels, 3, padding=1))
        self.top_blocks = nn.ModuleDict(
            {
                f"p{6 + i}": nn.Conv2d(channels, channels, 3, stride=2, padding=1)
                for i in range(extra)
            }
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return one map ``(B, channels, H, W)`` per level, fine to coarse."""
        inner = [getattr(self, f"fpn_inner{n}")(x) for n, x in zip(self.names, maps, strict=True)]
        for i in range(len(inner) - 2, -1, -1):
            above = functional.interpolate(inner[i + 1], size=inner[i].shape[-2:], mode="nearest")
            inner[i] = inner[i] + above
        levels = [getattr(self, f"fpn_layer{n}")(x) for n, x in zip(self.names, inner, strict=True)]
        for i, block in enumerate(self.top_blocks.values()):
            levels.append(block(functional.relu(levels[-1]) if i else levels[-1]))
        return levels
