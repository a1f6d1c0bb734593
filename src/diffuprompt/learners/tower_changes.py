"""What a learner changes in a tower, as learnables; `TowerChange` is what the tower is given.

Legend: N layers, R rank, D width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from diffuprompt.clip import (
    BlockChange,
    Dropout,
    LowRank,
    Norm,
    TextTower,
    TowerChange,
    TowerConfig,
    VisionTower,
)

PROJECTIONS = 3  # queries, keys and values


class LowRankPairs(nn.Module):
    """A pair for queries, keys and values of every layer.

    ``down`` ``(N, 3, R, D)`` starts as torch starts a linear map, ``up`` ``(N, 3, D, R)`` at zero:
    at first nothing changes.
    """

    def __init__(self, config: TowerConfig, rank: int, generator: torch.Generator | None) -> None:
        super().__init__()
        layers, width = config.layers, config.width
        down, reach = torch.empty(layers, PROJECTIONS, rank, width), width**-0.5
        self.down = nn.Parameter(down.uniform_(-reach, reach, generator=generator))
        self.up = nn.Parameter(torch.zeros(layers, PROJECTIONS, width, rank))

    def change(
        self, scale: float, dtype: torch.dtype, rate: float, generator: torch.Generator | None
    ) -> TowerChange:
        """Return ``up @ down`` times ``scale`` for every layer.

        Without a ``generator`` nothing is dropped; with one, each pair reads its input through a
        dropout of its own.
        """
        down, up = self.down.to(dtype), (scale * self.up).to(dtype)
        drops: list[list[Dropout | None]] = [[None] * PROJECTIONS] * len(down)
        if generator is not None and rate:
            seeds = torch.randint(2**62, down.shape[:2], generator=generator).tolist()
            drops = [[Dropout(rate, seed) for seed in row] for row in seeds]
        blocks = {}
        for layer, drop in enumerate(drops):
            q, k, v = map(LowRank, down[layer], up[layer], drop)
            blocks[layer] = BlockChange(q=q, k=k, v=v)
        return TowerChange(blocks=blocks)


class NormCopies(nn.Module):
    """Weights and biases of all norms of a tower, ``(norms, D)`` each, starting as the tower's."""

    def __init__(self, tower: TextTower | VisionTower) -> None:
        super().__init__()
        norms = list(_norms(tower))
        self.layers, self.first = len(tower.blocks), isinstance(tower, VisionTower)
        self.weight = nn.Parameter(_stacked([norm.weight for norm in norms]))
        self.bias = nn.Parameter(_stacked([norm.bias for norm in norms]))

    def change(self, dtype: torch.dtype) -> TowerChange:
        """Return the norms in the places of the tower's own."""
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        norms = map(Norm, weight, bias)
        first = next(norms) if self.first else None
        blocks = {i: BlockChange(ln_1=next(norms), ln_2=next(norms)) for i in range(self.layers)}
        return TowerChange(blocks=blocks, ln_first=first, ln_last=next(norms))


def _norms(tower: TextTower | VisionTower) -> Iterator[nn.LayerNorm]:
    """Yield a tower's norms in the order of a pass."""
    if isinstance(tower, VisionTower):
        yield tower.ln_pre
    for block in tower.blocks:
        yield from (block.ln_1, block.ln_2)
    yield tower.ln_post if isinstance(tower, VisionTower) else tower.ln_final


def _stacked(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.detach().float() for tensor in tensors])
