"""A bottleneck network mixed into output features (CLIP-Adapter, arXiv 2110.04544, eq. 2-4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffuprompt.learners.base import linear

REDUCTION = 4


class FeatureAdapter(nn.Module):
    """``share * relu(W2 relu(W1 x)) + (1 - share) * x``, both maps without bias."""

    def __init__(self, width: int, share: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        hidden = max(width // REDUCTION, 1)
        self.share = share
        self.down = linear(width, hidden, generator, bias=False)
        self.up = linear(hidden, width, generator, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., E)`` to ``(..., E)``."""
        new = torch.relu(self.up(torch.relu(self.down(x.to(self.down.weight.dtype)))))
        return self.share * new.to(x.dtype) + (1 - self.share) * x
