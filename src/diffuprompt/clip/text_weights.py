"""What the text paths need of a tower: its weights, and nothing of how they are chosen.

Legend: S context length, D width, E embedding.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from diffuprompt.clip.changes import TowerChange
from diffuprompt.clip.layers import Blocks


class TextWeights(Protocol):
    """The parts of a text tower that turn token ids into features."""

    @property
    def token_embedding(self) -> nn.Embedding:
        """Ids to vectors of width D."""

    @property
    def positions(self) -> Tensor:
        """What is added to the vectors, ``(S, D)``."""

    @property
    def blocks(self) -> Blocks:
        """The transformer."""

    def project(self, pooled: Tensor, change: TowerChange | None = None) -> Tensor:
        """Final norm and projection: ``(..., D)`` to ``(..., E)``."""
