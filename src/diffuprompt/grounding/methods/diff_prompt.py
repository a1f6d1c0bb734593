"""Diff-Prompt, stage 3 (arXiv 2504.21423, section 3.3): a trajectory of masks becomes prompts.

Three forms. *grid* (default): one visual prompt per token of each block's map, so that prompts stay
where the mask is. *pixel* (released): decoded masks, flattened, to a few prompts for each block.
*latent* (paper): the same from the latents. Beside these "specific" prompts stand learned "global"
ones. The release re-views prompts of the first width as fewer of a later block's; here a linear map
of each stage is the default. Its two mistakes inside of windows (prompts of other samples, biases
beside their keys) have switches, for comparison only.

Legend: B sample, K maps, P prompts, C width of a block, D width of the text tower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Reads, Sites, VisualPrompt
from diffuprompt.grounding.methods.adapters import (
    GridAdapter,
    LatentAdapter,
    Order,
    PixelAdapter,
    PooledAdapter,
    TokenAdapter,
    trajectory,
)
from diffuprompt.grounding.methods.layers import STD, LearnedPrompts, linear
from diffuprompt.grounding.methods.settings import Depth, Factor, Length, Settings
from diffuprompt.ranges import Range

Grids = Callable[[int, int], Sequence[tuple[int, int]]]
Prompts = list[Tensor | None]
PIXEL_STRIDE = 32  # of the pixel form's five convolutions


@dataclass(frozen=True, kw_only=True)
class DiffPromptConfig(Settings):
    """Settings of Diff-Prompt's prompts; the defaults are for the tiny detector.

    Attributes:
        form: what the adapters make of the maps.
        depth: layers that are prompted, from each tower's first on; at most the deeper tower's.
        length: L, prompts of a layer, half of them specific and half global.
        order: which layer reads which map; "all": each reads all.
        maps: maps of a trajectory; only "all" needs to know.
        channels: of latents.
        side: the pixel form resizes masks to it; a multiple of 32.
        projection: of pixel and latent form's visual prompts to a block's width: a linear map of
            each stage, or the release's re-view of memory, for which L and depth must fit.
        global_std: of initial global prompts.
        visual_specific: whether the image tower reads the maps.
        visual_global: whether it has global prompts.
        text_specific: whether the text tower reads the maps.
        text_global: whether it has global prompts.
        batch_mixup: the release's mistake: samples of a batch read each other's visual prompts.
        bias_shift: the release's mistake: relative biases are shifted against the keys.
    """

    form: Literal["grid", "pixel", "latent"] = "grid"
    depth: Depth = 6
    length: Length = 8
    order: Order = "all"
    maps: Annotated[int, Range(1, 1000)] = 1
    channels: Annotated[int, Range(1, 64)] = 4
    side: Annotated[int, Range(PIXEL_STRIDE, 1024)] = 64
    projection: Literal["linear", "reshape"] = "linear"
    global_std: Factor = STD
    visual_specific: bool = True
    visual_global: bool = True
    text_specific: bool = True
    text_global: bool = True
    batch_mixup: bool = False
    bias_shift: bool = False

    def misfits(self, sites: Sites) -> list[str]:
        """Return what does not fit a detector, a line for each problem."""
        found = []
        deepest = max(len(sites.visual), len(sites.textual))
        if self.depth > deepest:
            found.append(f"depth: got {self.depth}, the detector has {deepest} layers")
        if self.length % 2:
            found.append(f"length: got {self.length}, expected an even number")
        if self.side % PIXEL_STRIDE:
            found.append(f"side: got {self.side}, expected a multiple of {PIXEL_STRIDE}")
        if self.form != "grid" and self.projection == "reshape":
            count = self.length // 2 * (self.visual_specific + self.visual_global)
            for block, width in enumerate(sites.visual[: self.depth]):
                if count * sites.visual[0] % width:
                    found.append(
                        f"length {self.length} at depth {self.depth}: block {block} cannot view "
                        f"{count} prompts of {sites.visual[0]} as prompts of {width}; take fewer "
                        'layers, another length or projection="linear"'
                    )
                    break
        return found


class DiffPrompt(Method):
    """Adapters and global prompts of both towers; see `DiffPromptConfig`.

    Raises:
        ConfigError: length or depth do not fit the detector.
    """

    def __init__(
        self, sites: Sites, config: DiffPromptConfig, init: torch.Generator, *, grids: Grids
    ) -> None:
        super().__init__()
        if problems := config.misfits(sites):
            raise ConfigError("diff-prompt: " + "; ".join(problems))
        self.config, self._grids = config, grids
        visual, textual = sites.visual[: config.depth], sites.textual[: config.depth]
        self.reads = _reads(config)
        self.num_blocks, self.num_layers = len(visual), len(textual)
        self.grid = self.visual = self.visual_globals = self.project = None
        self.textual = self.textual_globals = None
        if config.visual_specific and config.form == "grid":
            channels = config.maps if config.order == "all" else 1
            self.grid = GridAdapter(channels, visual, config.order, init)
        elif config.visual_specific and visual:
            self.visual = _token_adapter(config, len(visual), sites.visual[0], init)
        if config.visual_global:
            base = (sites.visual[0],) * len(visual)
            widths = visual if config.form == "grid" else base
            self.visual_globals = LearnedPrompts(
                widths, config.length // 2, init, std=config.global_std
            )
        if config.form != "grid" and (config.visual_specific or config.visual_global):
            self.project = Projection(config.projection, sites.visual[0], visual, init)
        if config.text_specific and textual:
            self.textual = _token_adapter(config, len(textual), textual[0], init)
        if config.text_global:
            self.textual_globals = LearnedPrompts(
                textual, config.length // 2, init, std=config.global_std
            )

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return prompts of both towers; raises `DataError` for maps that do not fit."""
        config, maps = self.config, inputs.maps
        if self.reads != "nothing":
            kept = config.maps if config.order == "all" else None
            maps = trajectory(maps, latents=self.reads == "latents", kept=kept)
        batch = len(inputs.pixels)
        grids = self._grids(*inputs.pixels.shape[-2:])[: self.num_blocks]
        grid: Prompts = [None] * self.num_blocks
        if self.grid is not None and maps is not None:
            grid = [*self.grid(maps, grids)]
        tokens = _both(self.visual, self.visual_globals, maps, batch, self.num_blocks)
        if self.project is not None:
            tokens = self.project(tokens)
        return Adaptation(
            visual=[
                VisualPrompt(
                    tokens=own, grid=map_, mixed=config.batch_mixup, misplaced=config.bias_shift
                )
                for own, map_ in zip(tokens, grid, strict=True)
            ],
            textual=_both(self.textual, self.textual_globals, maps, batch, self.num_layers),
        )


class Projection(nn.Module):
    """Prompts of the first block's width at the width of each block."""

    def __init__(
        self,
        kind: Literal["linear", "reshape"],
        base: int,
        widths: Sequence[int],
        init: torch.Generator,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        stages = sorted(set(widths)) if kind == "linear" else []
        self.stages = nn.ModuleDict({str(width): linear(base, width, init) for width in stages})

    def forward(self, prompts: Prompts) -> Prompts:
        """Return ``(B, P, C)`` for each block; a re-view has P * base / C prompts."""
        found: Prompts = []
        for own, width in zip(prompts, self.widths, strict=True):
            if own is None or self.stages:
                found.append(own if own is None else self.stages[str(width)](own))
            else:
                found.append(own.contiguous().view(len(own), -1, width))
        return found


def _token_adapter(
    config: DiffPromptConfig, depth: int, width: int, init: torch.Generator
) -> TokenAdapter:
    together = config.maps if config.order == "all" else 1
    length = config.length // 2
    adapter: nn.Module
    if config.form == "latent":
        adapter = LatentAdapter(together * config.channels, length, width, init)
    elif config.form == "pixel":
        adapter = PixelAdapter(together, config.side, length, width, init)
    else:
        adapter = PooledAdapter(together, length, width, init)
    return TokenAdapter(adapter, depth, config.order)


def _reads(config: DiffPromptConfig) -> Reads:
    if not (config.visual_specific or config.text_specific):
        return "nothing"
    return "latents" if config.form == "latent" else "masks"


def _both(
    specific: nn.Module | None,
    shared: nn.Module | None,
    maps: Tensor | None,
    batch: int,
    depth: int,
) -> Prompts:
    """Return specific prompts, then global ones, for each layer; None where there are neither."""
    parts = []
    if specific is not None:
        parts.append(specific(maps))
    if shared is not None:
        parts.append(shared(batch))
    if not parts:
        return [None] * depth
    return [torch.cat(own, 1) for own in zip(*parts, strict=True)]
