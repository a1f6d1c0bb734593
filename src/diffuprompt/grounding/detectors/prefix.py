"""Attention that also reads prompts: extra keys and values, no extra queries.

Prompts that are concatenated to the tokens and dropped from the output act through their keys and
values alone, so nothing else of them is computed.

Legend: B batch, H heads, Q queries, S keys, P prompts, K width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def attend_with_prefix(
    q_BHQK: Tensor,
    k_BHSK: Tensor,
    v_BHSK: Tensor,
    prefix: tuple[Tensor, Tensor] | None = None,
    bias: Tensor | None = None,
    prefix_bias: Tensor | None = None,
) -> Tensor:
    """Return attention's output ``(B, H, Q, K)``.

    Args:
        q_BHQK: queries, not scaled.
        k_BHSK: keys of the tokens.
        v_BHSK: values of the tokens.
        prefix: keys and values of prompts, ``(B, H, P, K)`` each; None, or P = 0: no prompts.
        bias: what is added to the tokens' scores, broadcasts to ``(B, H, Q, S)``.
        prefix_bias: what is added to the prompts' scores, broadcasts to ``(B, H, Q, P)``; None: 0,
            every query sees every prompt.
    """
    if prefix is None or not prefix[0].shape[2]:
        return functional.scaled_dot_product_attention(q_BHQK, k_BHSK, v_BHSK, attn_mask=bias)
    num_prompts, num_keys = prefix[0].shape[2], k_BHSK.shape[2]
    keys = torch.cat([prefix[0], k_BHSK], 2)
    values = torch.cat([prefix[1], v_BHSK], 2)
    if bias is None and prefix_bias is None:
        return functional.scaled_dot_product_attention(q_BHQK, keys, values)
    shape = (*q_BHQK.shape[:3], num_prompts)
    left = q_BHQK.new_zeros(()) if prefix_bias is None else prefix_bias
    right = q_BHQK.new_zeros(()) if bias is None else bias
    both = torch.cat([left.expand(shape), right.expand(*shape[:3], num_keys)], -1)
    return functional.scaled_dot_product_attention(q_BHQK, keys, values, attn_mask=both)
