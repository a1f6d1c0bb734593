"""The fast, exact text path.

CLIP's text tower is causal and pools at end-of-text, so (1) nothing after it is computed, (2) keys
and values of the prefix ``[SOT, v1..vM, common words]`` are computed once per image and shared by
all classes, (3) suffixes are packed, without padding on a CPU (see `packing`), (4) in the last
layer only the pooled position is computed. A sample costs ``P + sum(len(suffix_c))`` tokens instead
of ``S * C``. Prompts of deeper layers only replace states of the prefix, so all of this stays exact
with them, and for gradients. A change of the tower's weights (see `changes`) is the same for every
token, and as exact; only dropout in it sees the shared prefix once, with one mask for all classes
of a chunk.

Legend: B image, C class, L prompt token, D width, E embedding, P prefix, T all suffix tokens,
H heads, K head width, G classes of one length, N their length.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.clip.changes import BlockChange, TowerChange, at_layer
from diffuprompt.clip.layers import Attention, Block
from diffuprompt.clip.packing import Packing
from diffuprompt.clip.text_plain import place
from diffuprompt.clip.text_weights import TextWeights
from diffuprompt.clip.tokens import PromptedTokens


def encode_shared(
    tower: TextWeights,
    packing: Packing,
    prompts: Mapping[int, Tensor],
    change: TowerChange | None = None,
) -> Tensor:
    """Return features ``(B|1, C, E)``; ``prompts`` are ``(B|1, 1, L, D)`` at positions 1..M."""
    size = len(packing.prefix_ids)
    prefix = tower.token_embedding(packing.prefix_ids)[None]
    suffix = tower.token_embedding(packing.suffix_ids) + tower.positions[packing.positions]
    prefix = _replace(prefix, prompts.get(0), packing.num_ctx) + tower.positions[:size]
    x = torch.cat([prefix, suffix.expand(prefix.shape[0], -1, -1)], dim=1)
    for layer, block in enumerate(tower.blocks):
        own = at_layer(change, layer)
        if layer:
            x = _replace(x, prompts.get(layer), packing.num_ctx)
        if layer < len(tower.blocks) - 1:
            x = x + _attend(block.attn, block.norm(x, own), packing, size, own)
            x = x + block.mlp(x, own)
        else:
            x = _last(block, x, packing, size, own)
    return tower.project(x, change)[:, packing.restore]


def encode_grouped(
    tower: TextWeights,
    tokens: PromptedTokens,
    prompts: Mapping[int, Tensor],
    batch: int,
    change: TowerChange | None = None,
) -> Tensor:
    """Return features ``(B, C, E)`` for prompts that cannot be shared: no padding, no sharing.

    Class-specific contexts and prompts behind the name take this path. Classes of one length are
    computed together, up to their end-of-text, and only that position in the last layer.
    """
    out = []
    for end, rows, group in tokens.groups:
        own = {k: p if p.shape[1] == 1 else p[:, rows] for k, p in prompts.items()}
        x = place(tower.token_embedding(group.ids[:, : end + 1]), group, own.get(0), batch)
        x = x + tower.positions[: end + 1]
        for layer, block in enumerate(tower.blocks):
            if layer:
                x = place(x, group, own.get(layer), batch)
            flat, differs = x.flatten(0, 1), at_layer(change, layer)
            if layer < len(tower.blocks) - 1:
                flat = block(flat, causal=True, change=differs)
            else:
                flat = block.pooled(flat, end, differs)
            x = flat.unflatten(0, (batch, len(group)))
        out.append(tower.project(x, change))
    return torch.cat(out, dim=1)[:, tokens.ungrouped]


def _replace(x_BSD: Tensor, prompt_B1LD: Tensor | None, num_ctx: int) -> Tensor:
    """Put prompt vectors at positions 1..M, for all classes at once."""
    if prompt_B1LD is None:
        return x_BSD
    prompt = prompt_B1LD[:, 0].to(x_BSD.dtype)
    batch = max(prompt.shape[0], x_BSD.shape[0])
    parts = (x_BSD[:, :1], prompt, x_BSD[:, 1 + num_ctx :])
    return torch.cat([p.expand(batch, -1, -1) for p in parts], dim=1)


def _attend(
    attn: Attention, x_BSD: Tensor, packing: Packing, prefix: int, change: BlockChange | None
) -> Tensor:
    """Causal attention, packed: the prefix to itself, suffixes to it and to themselves."""
    q, k, v = (attn.split_heads(t) for t in attn.project(x_BSD, change))
    k_prefix, v_prefix = k[:, :, :prefix], v[:, :, :prefix]
    out = [
        functional.scaled_dot_product_attention(
            q[:, :, :prefix], k_prefix, v_prefix, is_causal=True
        )
    ]
    q = q[:, :, prefix:] * q.shape[-1] ** -0.5
    k, v = k[:, :, prefix:], v[:, :, prefix:]
    to_prefix = q @ k_prefix.transpose(-2, -1)
    for bucket in packing.buckets:
        at = slice(bucket.start, bucket.stop)
        shape = (bucket.count, bucket.length)
        qb, kb, vb = (t[:, :, at].unflatten(2, shape) for t in (q, k, v))
        within = qb @ kb.transpose(-2, -1)
        within = within + _causal(bucket.length, within.dtype, within.device)
        both = torch.cat([to_prefix[:, :, at].unflatten(2, shape), within], dim=-1).softmax(-1)
        # One product with the prefix's values for all classes, one with each class's own.
        shared = both[..., :prefix].flatten(2, 3) @ v_prefix
        out.append(shared + (both[..., prefix:] @ vb).flatten(2, 3))
    return attn.out(attn.merge_heads(torch.cat(out, dim=2)))


def _last(
    block: Block, x_BSD: Tensor, packing: Packing, prefix: int, change: BlockChange | None
) -> Tensor:
    """The last block at the end-of-text positions only: ``(B, P + T, D)`` to ``(B, C, D)``."""
    attn, read, ends = block.attn, block.norm(x_BSD, change), packing.ends + prefix
    q, k, v = (attn.split_heads(t) for t in attn.project_query(read[:, ends], read, change))
    q = q * q.shape[-1] ** -0.5
    k_prefix, v_prefix = k[:, :, :prefix], v[:, :, :prefix]
    k, v = k[:, :, prefix:], v[:, :, prefix:]
    to_prefix = q @ k_prefix.transpose(-2, -1)
    out, first = [], 0
    for bucket in packing.buckets:
        classes, at = slice(first, first + bucket.count), slice(bucket.start, bucket.stop)
        first += bucket.count
        kb, vb = (t[:, :, at].unflatten(2, (bucket.count, bucket.length)) for t in (k, v))
        within = (kb @ q[:, :, classes, :, None])[..., 0]
        if bucket.padded:
            beyond = packing.padding[at].unflatten(0, (bucket.count, bucket.length))
            within = within.masked_fill(beyond, float("-inf"))
        both = torch.cat([to_prefix[:, :, classes], within], dim=-1).softmax(-1)
        own = (both[..., None, prefix:] @ vb)[..., 0, :]
        out.append(both[..., :prefix] @ v_prefix + own)
    x = x_BSD[:, ends] + attn.out(attn.merge_heads(torch.cat(out, dim=2)))
    return x + block.mlp(x, change)


@lru_cache(maxsize=256)  # every layer and call needs the same few
@torch.inference_mode(mode=False)  # remembered, so it must also serve later backward passes
def _causal(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Additive mask, minus infinity above the diagonal."""
    return torch.full((length, length), float("-inf"), dtype=dtype, device=device).triu(1)
