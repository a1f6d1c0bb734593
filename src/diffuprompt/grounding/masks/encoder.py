"""Where a caption points: a transformer over the cells of the latent grid that reads the words.

A relation takes two hops ("the ring left of the red square": cells find the square, then the rings
look at where it is), so cells attend to each other in every layer. Positions are relative, and a
cell is told its place as a share of the picture: what learned on small pictures reads large ones.

Legend: B expression, N cell, S word, D width, M channels of maps, L level; h, w of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.masks.attending import SelfAttention, WordAttention
from diffuprompt.grounding.masks.condition import TokensCondition
from diffuprompt.grounding.masks.mask_vae import DOWN
from diffuprompt.grounding.masks.places import turns, wave_code

FINE = 4  # the map is finer than the latent grid, and half as fine as the mask
WORD_LAYERS = 2  # the detector's text tower may never have seen a relation
WORD_PERIOD = 100.0


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of the encoder.

    Attributes:
        width: of the tokens.
        depth: layers that cells pass.
        heads: of attention; ``width / heads`` is a multiple of 4.
    """

    width: int = 128
    depth: int = 4
    heads: int = 4

    def __post_init__(self) -> None:
        """Raise `ConfigError` for impossible sizes."""
        if min(self.heads, self.depth) < 1 or self.width % self.heads:
            raise ConfigError(f"encoder: width {self.width} is no multiple of heads={self.heads}")
        if self.width // self.heads % 4:
            raise ConfigError(
                f"encoder: a head of {self.width // self.heads} cannot turn in two dimensions; "
                "make width / heads a multiple of 4"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What the encoder makes of a condition.

    Attributes:
        cells: ``(B, D, h, w)``.
        summary: ``(B, 2, D)``, the cells where the map is, and the caption.
        logits: ``(B, 1, 4h, 4w)`` of the mask.
    """

    cells: Tensor
    summary: Tensor
    logits: Tensor


class MaskEncoder(nn.Module):
    """Cells and words to tokens and a map of the mask."""

    def __init__(self, config: EncoderConfig, widths: Mapping[str, int]) -> None:
        """Build it for conditions of ``widths`` ("maps", "levels", "words")."""
        super().__init__()
        self.config, self.levels = config, widths["levels"]
        width = config.width
        self.maps_norm = nn.LayerNorm(widths["maps"])
        self.maps_in = nn.Linear(widths["maps"] + 2, width)
        self.words_norm = nn.LayerNorm(widths["words"])
        self.words_in = nn.Linear(widths["words"], width)
        self.role = nn.Embedding(2, width)
        self.word_layers = nn.ModuleList(
            Layer(width, config.heads, levels=0) for _ in range(WORD_LAYERS)
        )
        self.said = nn.Linear(width, self.levels * width)
        self.layers = nn.ModuleList(
            Layer(width, config.heads, levels=self.levels) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.map_out = nn.Conv2d(width, FINE * FINE, 3, padding=1)

    def forward(self, condition: TokensCondition) -> Reading:
        """Return tokens of every cell, a summary and the logits of the mask."""
        rows, columns = condition.maps.shape[2:]
        device = condition.maps.device
        aligned_BNSL = condition.alignment.flatten(3).permute(0, 3, 2, 1)
        words_BSD = self._read_words(condition)
        maps_BNM = self.maps_norm(condition.maps.flatten(2).transpose(1, 2))
        places_BN2 = _places(rows, columns).to(maps_BNM).expand(len(maps_BNM), -1, -1)
        x_BND = self.maps_in(torch.cat([maps_BNM, places_BN2], 2))
        said_BSLD = self.said(words_BSD).unflatten(-1, (self.levels, -1))
        x_BND = x_BND + torch.einsum("bnsl,bsld->bnd", aligned_BNSL, said_BSLD)
        turns_NK = turns(rows, columns, self.config.width // self.config.heads, device)
        for layer in self.layers:
            x_BND = layer(x_BND, turns_NK, condition.mask, words_BSD, aligned_BNSL)
        x_BND = self.norm(x_BND)
        cells_BDhw = x_BND.transpose(1, 2).unflatten(2, (rows, columns))
        logits = functional.pixel_shuffle(self.map_out(cells_BDhw), FINE)
        return Reading(
            cells=cells_BDhw,
            summary=torch.stack([_where(x_BND, logits), _mean(words_BSD, condition.mask)], 1),
            logits=logits,
        )

    def reset(self, generator: torch.Generator) -> None:
        """Begin with small masks: few cells belong to the target."""
        self.map_out.weight.mul_(0.1)
        assert self.map_out.bias is not None
        self.map_out.bias.fill_(-3.0)

    def _read_words(self, condition: TokensCondition) -> Tensor:
        words_BSD = self.words_in(self.words_norm(condition.words))
        words_BSD = words_BSD + self.role(condition.roots.long())
        place_S = torch.arange(words_BSD.shape[1], device=words_BSD.device).float()
        words_BSD = words_BSD + wave_code(place_S, self.config.width, WORD_PERIOD).to(words_BSD)
        for layer in self.word_layers:
            words_BSD = layer(words_BSD, None, condition.mask)
        return words_BSD


class Layer(nn.Module):
    """Pre-norm: tokens attend to each other, then to the words, then an MLP."""

    def __init__(self, width: int, heads: int, *, levels: int) -> None:
        """Build it; ``levels`` of alignment, 0 for a layer of the words themselves."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.reading_norm = nn.LayerNorm(width) if levels else None
        self.reading = WordAttention(width, heads, levels) if levels else None
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(approximate="tanh"), nn.Linear(2 * width, width)
        )

    def forward(
        self,
        x_BND: Tensor,
        turns_NK: Tensor | None,
        mask_BS: Tensor,
        words_BSD: Tensor | None = None,
        alignment_BNSL: Tensor | None = None,
    ) -> Tensor:
        """Return ``(B, N, D)``; without ``words_BSD`` the tokens are the words."""
        own = mask_BS if words_BSD is None else None
        x_BND = x_BND + self.attention(self.attention_norm(x_BND), turns_NK, own)
        if self.reading is not None and self.reading_norm is not None:
            given = self.reading_norm(x_BND)
            x_BND = x_BND + self.reading(given, words_BSD, mask_BS, alignment_BNSL)
        return x_BND + self.mlp(self.mlp_norm(x_BND))


def _places(rows: int, columns: int) -> Tensor:
    """Return each cell's place in the picture ``(N, 2)``, x and y in -2..2.

    "The leftmost ring" is told by them much sooner than by comparing all rings.
    """
    y, x = torch.linspace(-2, 2, rows), torch.linspace(-2, 2, columns)
    return torch.stack(torch.meshgrid(y, x, indexing="ij")).flatten(1).flip(0).T


def map_losses(logits_B1HW: Tensor, masks_B1HW: Tensor) -> dict[str, Tensor]:
    """Return "bce" and "dice" of a map against masks in 0..1, averaged to the map's resolution.

    Dice is ``1 - (2 sum(p m) + 1) / (sum(p) + sum(m) + 1)`` per expression (arXiv 1606.04797):
    it weighs small objects as much as large ones.
    """
    height, width = logits_B1HW.shape[-2:]
    truth = functional.adaptive_avg_pool2d(masks_B1HW, (height, width))
    bce = functional.binary_cross_entropy_with_logits(logits_B1HW, truth)
    guess = logits_B1HW.sigmoid()
    both = (guess * truth).sum((1, 2, 3))
    dice = 1 - (2 * both + 1) / (guess.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 1)
    return {"bce": bce, "dice": dice.mean()}


def full_map(logits_B1HW: Tensor) -> Tensor:
    """Return the map in 0..1 at the resolution of masks ``(B, 1, H, W)``."""
    return functional.interpolate(
        logits_B1HW.sigmoid(), scale_factor=DOWN // FINE, mode="bilinear", align_corners=False
    )


def _where(x_BND: Tensor, logits_B1HW: Tensor) -> Tensor:
    """Return the mean of cells weighed by the map, whatever the size of the picture."""
    weight_BN = functional.avg_pool2d(logits_B1HW, FINE).flatten(1).softmax(1)
    return torch.einsum("bn,bnd->bd", weight_BN, x_BND)


def _mean(words_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    return (words_BSD * mask_BS[..., None]).sum(1) / mask_BS.sum(1, keepdim=True).clamp(min=1)
