"""Shapes and conventions of a CLIP checkpoint; nothing here is assumed anywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffuprompt.errors import CheckpointError

Activation = Literal["quick_gelu", "gelu", "gelu_pytorch_tanh"]


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """What both towers share: a pre-norm transformer of ``layers`` blocks."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation = "quick_gelu"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise CheckpointError(f"width {self.width} is not a multiple of heads {self.heads}")


@dataclass(frozen=True, kw_only=True)
class TextConfig(TowerConfig):
    """Causal text tower; ``sot``, ``eot`` and ``pad`` are the tokenizer's special ids."""

    vocab_size: int
    context_length: int
    sot: int
    eot: int
    pad: int


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerConfig):
    """Image tower over a square grid of ``image_size`` positions with ``channels`` channels.

    Without a ``stem`` the grid is the picture itself; with one it is the stem's output map.
    """

    image_size: int
    patch_size: int
    channels: int = 3
    stem: Mapping[str, Any] | None = None

    @property
    def num_patches(self) -> int:
        """Tokens of one picture, the class token not counted."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Both towers and the width E of the space they share."""

    text: TextConfig
    vision: VisionConfig
    embed_dim: int
