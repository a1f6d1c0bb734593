"""Swin (arXiv 2103.14030) as GLIP runs it, with prompts as explicit arguments.

Windows are always partitioned and shifted, even where a map is one window; there are no absolute
positions. Parameters have GLIP's names, so that its checkpoints are read without a table.

Legend: B image, H rows, W columns, C width, N tokens of a window (S * S), P prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.grounding.contract import VisualPrompt
from diffuprompt.grounding.detectors.prefix import attend_with_prefix

SHIFT_MASK = -100.0
EPS = 1e-5
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """Sizes: a stage has ``depths[i]`` blocks of width ``width * 2**i`` with ``heads[i]`` heads.

    ``outputs`` are the stages whose maps are returned.
    """

    patch: int = 4
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    outputs: tuple[int, ...] = (1, 2, 3)
    channels: int = 3

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each block, in order."""
        return tuple(self.width * 2**i for i, depth in enumerate(self.depths) for _ in range(depth))


class Swin(nn.Module):
    """Pixels ``(B, channels, H, W)`` to one map ``(B, C, H, W)`` per stage in ``outputs``."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.layers = nn.ModuleList(
            Stage(
                config.width * 2**i,
                depth,
                config.heads[i],
                config.window,
                last=i == len(config.depths) - 1,
            )
            for i, depth in enumerate(config.depths)
        )
        for i in config.outputs:
            self.add_module(f"norm{i}", nn.LayerNorm(config.width * 2**i, eps=EPS))

    def forward(
        self,
        pixels_BCHW: Tensor,
        prompts: Sequence[VisualPrompt | None] = (),
        after: Sequence[Change | None] = (),
    ) -> list[Tensor]:
        """Return the maps; ``prompts[i]`` is for block i, ``after[i]`` a function of its output."""
        x_BHWC = self.patch_embed(pixels_BCHW)
        found, block = [], 0
        for i, stage in enumerate(self.layers):
            own = slice(block, block + self.config.depths[i])
            x_BHWC, following = stage(x_BHWC, prompts[own], after[own])
            block = own.stop
            if i in self.config.outputs:
                found.append(getattr(self, f"norm{i}")(x_BHWC).permute(0, 3, 1, 2).contiguous())
            x_BHWC = following
        return found

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return rows and columns of each block's map for pictures of a size."""
        rows, columns = -(-height // self.config.patch), -(-width // self.config.patch)
        found = []
        for depth in self.config.depths:
            found += [(rows, columns)] * depth
            rows, columns = -(-rows // 2), -(-columns // 2)
        return found


class PatchEmbed(nn.Module):
    """Patches as tokens, normalised; pictures are padded to whole patches."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.proj = nn.Conv2d(config.channels, config.width, config.patch, stride=config.patch)
        self.norm = nn.LayerNorm(config.width, eps=EPS)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return ``(B, H, W, C)``."""
        height, width = pixels_BCHW.shape[-2:]
        padded = functional.pad(pixels_BCHW, (0, -width % self.patch, 0, -height % self.patch))
        return self.norm(self.proj(padded).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks whose windows are shifted in turn, then patches merged, but in the last stage."""

    def __init__(self, width: int, depth: int, heads: int, window: int, *, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, shift=(i % 2) * (window // 2)) for i in range(depth)
        )
        self.downsample = None if last else PatchMerging(width)

    def forward(
        self,
        x_BHWC: Tensor,
        prompts: Sequence[VisualPrompt | None],
        after: Sequence[Change | None],
    ) -> tuple[Tensor, Tensor]:
        """Return the stage's map and what the next stage reads."""
        for i, block in enumerate(self.blocks):
            x_BHWC = block(x_BHWC, prompts[i] if i < len(prompts) else None)
            change = after[i] if i < len(after) else None
            x_BHWC = x_BHWC if change is None else change(x_BHWC)
        return x_BHWC, x_BHWC if self.downsample is None else self.downsample(x_BHWC)


class PatchMerging(nn.Module):
    """Two by two tokens to one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width, eps=EPS)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Return ``(B, H/2, W/2, 2C)``; odd sides are padded."""
        rows, columns = x_BHWC.shape[1:3]
        x = functional.pad(x_BHWC, (0, 0, 0, columns % 2, 0, rows % 2))
        corners = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        return self.reduction(self.norm(torch.cat(corners, -1)))


class SwinBlock(nn.Module):
    """Attention inside (shifted) windows, then an MLP; both pre-norm and residual."""

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x_BHWC: Tensor, prompt: VisualPrompt | None = None) -> Tensor:
        """Return ``(B, H, W, C)``."""
        rows, columns = x_BHWC.shape[1:3]
        grid = None if prompt is None else prompt.grid
        tokens = None if prompt is None else prompt.tokens
        windows, padded = into_windows(self.norm1(x_BHWC), self.window, self.shift)
        grid_windows = None if grid is None else into_windows(grid, self.window, self.shift)[0]
        mask = self._mask(padded, x_BHWC)
        flaws = {"mixed": prompt.mixed, "misplaced": prompt.misplaced} if prompt else {}
        attended = self.attn(windows, mask, tokens, grid_windows, **flaws)
        x_BHWC = x_BHWC + self._whole(attended, padded)[:, :rows, :columns]
        return x_BHWC + self.mlp(self.norm2(x_BHWC))

    def _whole(self, windows: Tensor, padded: tuple[int, int]) -> Tensor:
        """Inverse of `into_windows`, padding included."""
        side, (rows, columns) = self.window, padded
        x = windows.reshape(-1, rows // side, columns // side, side, side, windows.shape[-1])
        x = x.transpose(2, 3).reshape(-1, rows, columns, windows.shape[-1])
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x

    def _mask(self, padded: tuple[int, int], like: Tensor) -> Tensor | None:
        """Return ``(windows, N, N)``: what came together only by the shift does not attend."""
        if not self.shift:
            return None
        vertical, horizontal = (self._region(total, like.device) for total in padded)
        region, side = 3 * vertical[:, None] + horizontal, self.window
        parts = region.unflatten(0, (-1, side)).unflatten(2, (-1, side)).transpose(1, 2)
        parts = parts.reshape(-1, side * side)
        differ = parts[:, None] != parts[:, :, None]
        return differ.to(like.dtype) * SHIFT_MASK

    def _region(self, total: int, device: torch.device) -> Tensor:
        """Return of every row, or column, whether the shift took it in, up to 2."""
        place = torch.arange(total, device=device)
        return (place >= total - self.window).long() + (place >= total - self.shift)


class WindowAttention(nn.Module):
    """Attention of the tokens of one window, with a learned bias per relative position."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        table = torch.zeros((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(table)
        index = _relative_index(window)
        self.register_buffer("relative_position_index", index, persistent=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x_BNC: Tensor,
        mask: Tensor | None,
        tokens_BPC: Tensor | None = None,
        grid_BNC: Tensor | None = None,
        *,
        mixed: bool = False,
        misplaced: bool = False,
    ) -> Tensor:
        """Return ``(B, N, C)``, B windows of all images; see `VisualPrompt` for the prompts.

        ``tokens_BPC`` are one row per image, or per window, which are projected before they are
        handed to the windows of the image.
        """
        q, k, v = self._heads(self.qkv(x_BNC), 3)
        bias = self._bias(mask, len(x_BNC))
        keys: list[Tensor] = []
        values: list[Tensor] = []
        biases: list[Tensor] = []
        if tokens_BPC is not None and tokens_BPC.shape[1]:
            count = len(x_BNC) // len(tokens_BPC)
            for kind, own in zip((keys, values), self._prompt_heads(tokens_BPC), strict=True):
                again = own.repeat(count, 1, 1, 1) if mixed else own.repeat_interleave(count, 0)
                kind.append(again)
            num_tokens, num_prompts = x_BNC.shape[1], tokens_BPC.shape[1]
            free = bias.new_zeros(*bias.shape[:3], num_prompts)
            if misplaced:  # zeros before the tokens' biases, prompts behind the tokens
                padded = functional.pad(bias, (num_prompts, 0, num_prompts, 0))[..., :num_tokens, :]
                bias, free = padded[..., :num_tokens], padded[..., num_tokens:]
            biases.append(free)
        if grid_BNC is not None:
            keys_values = self._prompt_heads(grid_BNC)
            keys.append(keys_values[0])
            values.append(keys_values[1])
            biases.append(bias)
        prefix = (torch.cat(keys, 2), torch.cat(values, 2)) if keys else None
        prefix_bias = torch.cat(biases, -1) if biases else None
        attended = attend_with_prefix(q, k, v, prefix, bias, prefix_bias)
        return self.proj(attended.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        return x.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _prompt_heads(self, prompts_BPC: Tensor) -> tuple[Tensor, ...]:
        width = prompts_BPC.shape[-1]
        both = functional.linear(prompts_BPC, self.qkv.weight[width:], self.qkv.bias[width:])
        return self._heads(both, 2)

    def _bias(self, mask: Tensor | None, count: int) -> Tensor:
        """Return ``(1 or B, H, N, N)``."""
        found = self.relative_position_bias_table[self.relative_position_index]
        bias = found.permute(2, 0, 1)[None]
        if mask is None:
            return bias
        return (bias + mask[:, None]).repeat(count // len(mask), 1, 1, 1)


class Mlp(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return self.fc2(functional.gelu(self.fc1(x)))


def into_windows(x_BHWC: Tensor, side: int, shift: int) -> tuple[Tensor, tuple[int, int]]:
    """Return shifted windows ``(B * windows, N, C)``, image after image, and the padded size."""
    rows, columns = x_BHWC.shape[1:3]
    x = functional.pad(x_BHWC, (0, 0, 0, -columns % side, 0, -rows % side))
    padded = (x.shape[1], x.shape[2])
    x = x.roll((-shift, -shift), (1, 2)) if shift else x
    x = x.unflatten(1, (-1, side)).unflatten(3, (-1, side)).transpose(2, 3)
    return x.reshape(-1, side * side, x.shape[-1]), padded


def _relative_index(window: int) -> Tensor:
    """Return ``(N, N)``: which row of the bias table belongs to a pair of tokens."""
    side = torch.arange(window)
    places = torch.stack(torch.meshgrid(side, side, indexing="ij")).flatten(1)
    shift = (places[:, :, None] - places[:, None]).permute(1, 2, 0) + window - 1
    return shift[..., 0] * (2 * window - 1) + shift[..., 1]
