"""An adaptation inside a detector of transformers: handed over by one context manager.

A detector of transformers takes no prompts as arguments. Its attention modules ask this module for
theirs, through transformers' own attention interface; outside `adapted` there are none, and
transformers' function runs as it is. What is handed over is a context variable: it belongs to the
thread (or task) that set it, and blocks may be nested.

Legend: B batch (of windows in an image tower), H heads, N queries and keys, K width of a head, P
prompts, C width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.grounding.detectors.prefix import attend_with_prefix

INTERFACE = "diffuprompt_prefix"


@dataclass(frozen=True, kw_only=True, eq=False)
class Prefix:
    """What one attention module reads beside its tokens.

    Attributes:
        tokens: ``(b, P, C)``, each for B / b windows of an image in turn; without positions.
        windows: ``(B, N, C)``, one for each token, at the token's own position.
    """

    tokens: Tensor | None = None
    windows: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """What is added in one call of a detector.

    Attributes:
        prefixes: of attention modules.
        after: functions of the outputs of `AdaptableBlock` and `AdaptableLayer`.
        levels: function of the pyramid's maps ``(B, C, H, W)``.
        language: function of the text features ``(B, S, D)``.
    """

    prefixes: Mapping[nn.Module, Prefix] = field(default_factory=dict)
    after: Mapping[nn.Module, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    levels: Callable[[Sequence[Tensor]], list[Tensor]] | None = None
    language: Callable[[Tensor], Tensor] | None = None


_NOTHING = Call()
_CURRENT: ContextVar[Call] = ContextVar("call of a detector", default=_NOTHING)


@contextmanager
def adapted(call: Call) -> Iterator[None]:
    """Let the detectors that are run inside the block read ``call``, and nothing else."""
    before = _CURRENT.set(call)
    try:
        yield
    finally:
        _CURRENT.reset(before)


class AdaptableEncoder(nn.Module):
    """MM-Grounding-DINO's encoder; what it reads may be changed by the `Call`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self,
        *,
        vision_features: Tensor,
        text_features: Tensor,
        spatial_shapes_list: list[tuple[int, int]],
        **rest: Any,
    ) -> Any:
        """Return what the encoder returns."""
        call = _CURRENT.get()
        if call.levels is not None:
            maps = into_maps(vision_features, spatial_shapes_list)
            vision_features = torch.cat([x.flatten(2).mT for x in call.levels(maps)], 1)
        if call.language is not None:
            text_features = call.language(text_features)
        return self.inner(
            vision_features=vision_features,
            text_features=text_features,
            spatial_shapes_list=spatial_shapes_list,
            **rest,
        )


class AdaptableBlock(nn.Module):
    """A block of transformers' Swin; its output may be changed by the `Call`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, hidden_states: Tensor, input_dimensions: tuple[int, int], **rest: Any
    ) -> tuple[Tensor, Any]:
        """Return what the block returns; the change reads ``(B, H, W, C)``."""
        x_BFC, weights = self.inner(hidden_states, input_dimensions, **rest)
        change = _CURRENT.get().after.get(self)
        if change is not None:
            x_BFC = change(x_BFC.unflatten(1, input_dimensions)).flatten(1, 2)
        return x_BFC, weights


class AdaptableLayer(nn.Module):
    """A layer of transformers' BERT; its output may be changed by the `Call`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *given: Any, **rest: Any) -> Tensor:
        """Return what the layer returns, ``(B, S, C)``."""
        x_BSC: Tensor = self.inner(*given, **rest)
        change = _CURRENT.get().after.get(self)
        return x_BSC if change is None else change(x_BSC)


def into_maps(rows_BFC: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Return the cells of all levels, one after the other, as maps ``(B, C, H, W)``."""
    parts = rows_BFC.split([rows * columns for rows, columns in sizes], 1)
    return [part.mT.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


def let_read_prefixes(tower: Any) -> None:
    """Make all attention modules of a transformers model ask for their `Prefix`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(INTERFACE, _attend)
    AttentionMaskInterface.register(INTERFACE, sdpa_mask)  # else padding is forgotten
    tower.set_attn_implementation(INTERFACE)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    prefix = _CURRENT.get().prefixes.get(module)
    if prefix is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return plain
    bias = _additive(attention_mask, query)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    biases: list[Tensor] = []
    for given, own in ((prefix.tokens, None), (prefix.windows, bias)):
        if given is not None:  # projected for an image, then handed to its windows
            for name, found in (("key", keys), ("value", values)):
                heads = _heads(_projection(module, name)(given), query.shape[1])
                found.append(heads.repeat_interleave(len(query) // len(given), 0))
            shape = (*query.shape[:3], given.shape[1])
            biases.append(query.new_zeros(shape) if own is None else own.expand(shape))
    both = (torch.cat(keys, 2), torch.cat(values, 2))
    mixed = attend_with_prefix(query, key, value, both, bias, torch.cat(biases, -1))
    return mixed.transpose(1, 2).contiguous(), None


def _projection(module: nn.Module, name: str) -> nn.Module:
    """Return BERT's "key" or "value", which Swin calls "k_proj" and "v_proj"."""
    own = name if hasattr(module, name) else f"{name[0]}_proj"
    return module.get_submodule(own)


def _heads(x_BPC: Tensor, heads: int) -> Tensor:
    return x_BPC.unflatten(-1, (heads, -1)).transpose(1, 2)


def _additive(mask: Tensor | None, like: Tensor) -> Tensor | None:
    if mask is None or mask.dtype != torch.bool:
        return mask
    zeros = like.new_zeros(mask.shape)
    return zeros.masked_fill(~mask, torch.finfo(like.dtype).min)
