"""The latent generator's network: a diffusion transformer on maps (DiT, arXiv 2212.09748).

Legend: B row, C channels, H rows, W columns of the latent map, N patch, D width, V condition
vector, M channels of a condition map, P patch side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.errors import ConfigError, PromptShapeError
from diffuprompt.grounding.masks.attending import SelfAttention
from diffuprompt.grounding.masks.places import grid_code, turns, wave_code

TIME_WIDTH = 256
EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class DitConfig:
    """Sizes; the defaults are the release's "DiT-My/2".

    Attributes:
        channels: of the state.
        learn_sigma: whether as many more outputs interpolate the variance.
        patch: side of a patch.
        vectors: condition vectors of ``width`` numbers; adaLN reads them side by side.
        maps: channels of the condition map that is concatenated to the state; 0 for none.
        positions: "absolute" codes that are added, as in the DiT, or "relative" rotations, which
            hold on grids of another size.
    """

    channels: int = 4
    learn_sigma: bool = False
    patch: int = 2
    width: int = 512
    depth: int = 12
    heads: int = 8
    vectors: int = 2
    maps: int = 0
    positions: Literal["absolute", "relative"] = "absolute"

    def __post_init__(self) -> None:
        """Raise `ConfigError` for impossible sizes."""
        if min(self.patch, self.depth, self.heads, self.vectors) < 1 or self.width % self.heads:
            raise ConfigError(
                f"width: {self.width} is no multiple of heads={self.heads}, or one of patch, "
                "depth, heads, vectors is below 1"
            )
        if self.width % 4 or (self.positions == "relative" and self.width // self.heads % 4):
            raise ConfigError(
                f"width: positions in two dimensions need a multiple of 4 (relative ones in every "
                f"head), got {self.width} with heads={self.heads}"
            )


class Dit(nn.Module):
    """``(state, time, condition) -> prediction``; with initial weights of `reset` it predicts 0."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch
        out = config.channels * (2 if config.learn_sigma else 1)
        self.patches = nn.Conv2d(config.channels + config.maps, width, patch, stride=patch)
        self.time_in = nn.Linear(TIME_WIDTH, width)
        self.time_out = nn.Linear(width, width)
        self.blocks = nn.ModuleList(DitBlock(config) for _ in range(config.depth))
        self.modulation = nn.Linear(config.vectors * width, 2 * width)
        self.out = nn.Linear(width, patch * patch * out)

    def forward(
        self,
        x_BCHW: Tensor,
        time_B: Tensor,
        vectors_BVD: Tensor,
        maps_BMHW: Tensor | None = None,
    ) -> Tensor:
        """Return ``(B, C, H, W)``, or ``(B, 2C, H, W)`` with ``learn_sigma``.

        Args:
            x_BCHW: state of unit variance.
            time_B: ``(B|1,)``, the discrete step counted from 0; numbers between steps are fine.
            vectors_BVD: condition, ``width`` numbers each.
            maps_BMHW: condition for each cell of the state.

        Raises:
            PromptShapeError: a side is no multiple of the patch, or a condition has another shape.
        """
        config, (height, width) = self.config, x_BCHW.shape[2:]
        self._check(x_BCHW, vectors_BVD, maps_BMHW)
        given = x_BCHW if maps_BMHW is None else torch.cat([x_BCHW, maps_BMHW], 1)
        rows, columns = height // config.patch, width // config.patch
        tokens_BND = self.patches(given).flatten(2).transpose(1, 2)
        turns_NK = None
        if config.positions == "absolute":
            code = grid_code(rows, columns, config.width, x_BCHW.device)
            tokens_BND = tokens_BND + code.to(tokens_BND)
        else:
            turns_NK = turns(rows, columns, config.width // config.heads, x_BCHW.device)
        condition_BV = self._condition(time_B, vectors_BVD)
        for block in self.blocks:
            tokens_BND = block(tokens_BND, condition_BV, turns_NK)
        shift, scale = self.modulation(condition_BV).unsqueeze(1).chunk(2, -1)
        return self._unpatched(self.out(_norm(tokens_BND) * (1 + scale) + shift), rows, columns)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Initialise as the DiT: Xavier-uniform, N(0, 0.02) for the time, 0 for adaLN and out."""
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(part.weight.flatten(1), generator=generator)
                if part.bias is not None:
                    part.bias.zero_()
        for layer in (self.time_in, self.time_out):
            layer.weight.normal_(0, 0.02, generator=generator)
        for name, part in self.named_modules():
            if isinstance(part, nn.Linear) and (name == "out" or name.endswith("modulation")):
                part.weight.zero_()

    def _condition(self, time_B: Tensor, vectors_BVD: Tensor) -> Tensor:
        """Return what adaLN reads: each vector plus the time, after the activation."""
        code = wave_code(time_B.float(), TIME_WIDTH).roll(TIME_WIDTH // 2, 1)  # [cos, sin]
        time_BD = self.time_out(functional.silu(self.time_in(code.to(vectors_BVD))))
        return functional.silu(vectors_BVD + time_BD[:, None]).flatten(1)

    def _unpatched(self, out_BNF: Tensor, rows: int, columns: int) -> Tensor:
        patch = self.config.patch
        parts = out_BNF.unflatten(1, (rows, columns)).unflatten(-1, (patch, patch, -1))
        return parts.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    def _check(self, x_BCHW: Tensor, vectors_BVD: Tensor, maps_BMHW: Tensor | None) -> None:
        config, batch, size = self.config, x_BCHW.shape[0], tuple(x_BCHW.shape[2:])
        if x_BCHW.shape[1] != config.channels or any(side % config.patch for side in size):
            raise PromptShapeError(
                f"state: expected (B, {config.channels}, H, W) with sides of whole patches of "
                f"{config.patch}, got {tuple(x_BCHW.shape)}"
            )
        if tuple(vectors_BVD.shape) != (batch, config.vectors, config.width):
            raise PromptShapeError(
                f"condition: expected ({batch}, {config.vectors}, {config.width}), "
                f"got {tuple(vectors_BVD.shape)}"
            )
        got = None if maps_BMHW is None else tuple(maps_BMHW.shape)
        if got != ((batch, config.maps, *size) if config.maps else None):
            raise PromptShapeError(
                f"condition map: expected {config.maps} channels for {batch} states of {size}, "
                f"got {got}"
            )


class DitBlock(nn.Module):
    """Attention and MLP whose input is shifted and scaled, and whose output is gated (adaLN)."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        width = config.width
        self.modulation = nn.Linear(config.vectors * width, 6 * width)
        self.attention = SelfAttention(width, config.heads)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x_BND: Tensor, condition_BV: Tensor, turns_NK: Tensor | None) -> Tensor:
        """Return ``(B, N, D)``; the condition is already activated."""
        parts = self.modulation(condition_BV).unsqueeze(1).chunk(6, -1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = parts
        given = _norm(x_BND) * (1 + scale_a) + shift_a
        x_BND = x_BND + gate_a * self.attention(given, turns_NK)
        hidden = self.mlp_in(_norm(x_BND) * (1 + scale_m) + shift_m)
        return x_BND + gate_m * self.mlp_out(functional.gelu(hidden, approximate="tanh"))


def _norm(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=EPSILON)
