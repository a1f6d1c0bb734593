"""Attention of cells to each other and to the words of their caption.

Legend: B row, N cell (or any query), S word, D width, H heads, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.grounding.masks.places import turned


class SelfAttention(nn.Module):
    """Attention among tokens, with rotary positions where angles are given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x_BND: Tensor, turns_NK: Tensor | None = None, mask_BN: Tensor | None = None
    ) -> Tensor:
        """Return ``(B, N, D)``; tokens where ``mask_BN`` is False are not seen."""
        q, k, v = self.qkv(x_BND).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if turns_NK is not None:
            q, k = turned(q, turns_NK), turned(k, turns_NK)
        seen = None if mask_BN is None else mask_BN[:, None, None]
        mixed_BHNK = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(mixed_BHNK.transpose(1, 2).flatten(2))


class WordAttention(nn.Module):
    """Attention of cells to words; what the detector aligns them with counts beforehand."""

    def __init__(self, width: int, heads: int, levels: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.aligned = nn.Linear(levels, heads, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self, x_BND: Tensor, words_BSD: Tensor, mask_BS: Tensor, alignment_BNSL: Tensor
    ) -> Tensor:
        """Return ``(B, N, D)``; words where ``mask_BS`` is False are not seen."""
        q = self.query(x_BND).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(words_BSD).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias_BHNS = self.aligned(alignment_BNSL).permute(0, 3, 1, 2)
        bias_BHNS = bias_BHNS.masked_fill(~mask_BS[:, None, None], -torch.inf)
        mixed_BHNK = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias_BHNS)
        return self.out(mixed_BHNK.transpose(1, 2).flatten(2))

    def reset(self, generator: torch.Generator) -> None:
        """Begin without a say of the alignment."""
        self.aligned.weight.zero_()
