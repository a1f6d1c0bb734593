"""The image tower: a ViT that takes prompt tokens as arguments.

Legend: B image, L prompt token, S sequence, D width, E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diffuprompt.clip.changes import TowerChange, at_layer, normed
from diffuprompt.clip.config import VisionConfig
from diffuprompt.clip.layers import Blocks, init_transformer
from diffuprompt.engine import Precision, mixed
from diffuprompt.errors import PromptShapeError

VisionPrompts = Mapping[int, Tensor]


class VisionTower(nn.Module):
    """CLIP's ViT (Radford et al. 2021) with prompts in the manner of VPT (Jia et al. 2022).

    Prompts are appended after the patches, without position, before the first norm; prompts of
    deeper layers replace the states of the same tokens (MaPLe, Khattak et al. 2023). Attention is
    full, so where in the sequence they stand does not matter. ``precision`` is that of passes with
    prompts or changes; features are returned in the weights' type.
    """

    precision: Precision = "fp32"

    def __init__(self, config: VisionConfig, embed_dim: int, stem: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_size
        self.stem = stem if stem is not None else nn.Identity()
        self.patch_embedding = nn.Conv2d(config.channels, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty(config.num_patches + 1, width))
        for parameter in (self.class_embedding, self.positions):
            nn.init.normal_(parameter, std=width**-0.5)
        self.ln_pre = nn.LayerNorm(width, eps=config.eps)
        self.blocks = Blocks(config)
        self.ln_post = nn.LayerNorm(width, eps=config.eps)
        self.projection = nn.Linear(width, embed_dim, bias=False)
        init_transformer(self.blocks, width, config.layers)
        nn.init.normal_(self.projection.weight, std=width**-0.5)

    def forward(
        self,
        pixels_BCHW: Tensor,
        prompts: VisionPrompts | None = None,
        change: TowerChange | None = None,
    ) -> Tensor:
        """Return image features ``(B, E)``, not normalised.

        Args:
            pixels_BCHW: preprocessed pictures.
            prompts: layer -> ``(B|1, L, D)``. One picture with B prompts gives B features.
            change: what differs in the tower, above the stem, for this call.

        Raises:
            PromptShapeError: prompts or changes do not fit the tower or the number of pictures.
        """
        return self.from_grid(self.stem(pixels_BCHW), prompts, change)

    def from_grid(
        self,
        grid_BCHW: Tensor,
        prompts: VisionPrompts | None = None,
        change: TowerChange | None = None,
    ) -> Tensor:
        """The tower above the stem; ``grid`` is what the stem returns. Same result as `forward`."""
        prompts = prompts or {}
        if change is not None:
            change.check(self.config, "image")
        precision = self.precision if prompts or change is not None else "fp32"
        with mixed(precision, self.positions.device):
            return self._encode(grid_BCHW, prompts, change).to(self.positions.dtype)

    def _encode(
        self, grid_BCHW: Tensor, prompts: VisionPrompts, change: TowerChange | None
    ) -> Tensor:
        x = self.patch_embedding(grid_BCHW).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], dim=1) + self.positions
        batch = _check(prompts, self.config, x.shape[0])
        x = x.expand(batch, -1, -1)
        if prompts:
            x = torch.cat([x, prompts[0].expand(batch, -1, -1).to(x.dtype)], dim=1)
        x = normed(self.ln_pre, x, None if change is None else change.ln_first)
        for layer, block in enumerate(self.blocks):
            if layer and layer in prompts:
                tokens = prompts[layer].expand(batch, -1, -1).to(x.dtype)
                x = torch.cat([x[:, : -tokens.shape[1]], tokens], dim=1)
            differs = at_layer(change, layer)
            if layer < len(self.blocks) - 1:
                x = block(x, causal=False, change=differs)
            else:
                x = block.pooled(x, 0, differs)
        last = None if change is None else change.ln_last
        return self.projection(normed(self.ln_post, x, last))


def _check(prompts: VisionPrompts, config: VisionConfig, pictures: int) -> int:
    """Return the batch size after broadcasting; every problem is a `PromptShapeError`."""
    if not prompts:
        return pictures
    lengths = {p.shape[1] for p in prompts.values()}
    if 0 not in prompts or len(lengths) != 1:
        raise PromptShapeError(
            "vision prompts need layer 0 and one length at all layers, got layers "
            f"{sorted(prompts)} with lengths {sorted(lengths)}"
        )
    for layer, p in prompts.items():
        if not 0 <= layer < config.layers or p.ndim != 3 or p.shape[2] != config.width:
            raise PromptShapeError(
                f"vision prompt of layer {layer}: expected (B|1, L, {config.width}) at a layer "
                f"in 0..{config.layers - 1}, got {tuple(p.shape)}"
            )
    sizes = {p.shape[0] for p in prompts.values()} | {pictures}
    if len(sizes - {1}) > 1:
        raise PromptShapeError(
            f"{pictures} pictures but prompts for {sorted(sizes - {1, pictures})}"
        )
    return max(sizes)
