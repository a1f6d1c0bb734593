"""The plain text path: every class over the whole context, as everybody computes it.

It is the reference that tests and benchmarks hold the fast path against.

Legend: B image, C class, L prompt token, S sequence, D width, E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from diffuprompt.clip.changes import TowerChange, at_layer
from diffuprompt.clip.text_weights import TextWeights
from diffuprompt.clip.tokens import PromptedTokens


def encode_plain(
    tower: TextWeights,
    tokens: PromptedTokens,
    prompts: Mapping[int, Tensor],
    batch: int,
    change: TowerChange | None = None,
) -> Tensor:
    """Return features ``(B, C, E)`` from all S positions of all classes."""
    x = plain_states(tower, tokens, prompts, batch, change)
    pooled = x[:, tokens.rows[:, 0], tokens.eot]
    return tower.project(pooled, change)


def plain_states(
    tower: TextWeights,
    tokens: PromptedTokens,
    prompts: Mapping[int, Tensor],
    batch: int,
    change: TowerChange | None = None,
) -> Tensor:
    """Return what leaves the last block at all positions, ``(B, C, S, D)``, before the norm."""
    x = place(tower.token_embedding(tokens.ids), tokens, prompts.get(0), batch)
    x = x + tower.positions[: x.shape[2]]
    for layer, block in enumerate(tower.blocks):
        if layer:
            x = place(x, tokens, prompts.get(layer), batch)
        flat = block(x.flatten(0, 1), causal=True, change=at_layer(change, layer))
        x = flat.unflatten(0, (-1, len(tokens)))
    return x


def encode_truncated(
    tower: TextWeights,
    tokens: PromptedTokens,
    prompts: Mapping[int, Tensor],
    batch: int,
    change: TowerChange | None = None,
) -> Tensor:
    """The plain path cut at the longest end of text: exact under a causal mask, and well known."""
    return encode_plain(tower, tokens.truncated, prompts, batch, change)


def place(x: Tensor, tokens: PromptedTokens, prompt_BCLD: Tensor | None, batch: int) -> Tensor:
    """Put prompt vectors at their positions: ``(C|B C, S, D)`` to ``(B, C, S, D)``."""
    x = x.expand(batch, *x.shape[-3:])
    if prompt_BCLD is None:
        return x
    x = x.clone()
    x[:, tokens.rows, tokens.slots] = prompt_BCLD.expand(batch, len(tokens), -1, -1).to(x.dtype)
    return x
