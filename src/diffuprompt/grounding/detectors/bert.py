"""BERT's encoder (arXiv 1810.04805) without a pooler, with prompts as explicit arguments.

Parameters have the names of transformers' ``BertModel``.

Legend: B caption, S tokens, C width, H heads, P prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.grounding.detectors.prefix import attend_with_prefix


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Sizes; the defaults are those of bert-base-uncased."""

    vocab_size: int = 30522
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    max_length: int = 512
    eps: float = 1e-12


class Bert(nn.Module):
    """Token ids ``(B, S)`` to features ``(B, S, C)``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(Layer(config) for _ in range(config.layers))}
        )

    def forward(
        self,
        ids_BS: Tensor,
        mask_BS: Tensor,
        prompts: Sequence[Tensor | None] = (),
        after: Sequence[Callable[[Tensor], Tensor] | None] = (),
    ) -> Tensor:
        """Return the last layer's features.

        Args:
            ids_BS: token ids.
            mask_BS: True for tokens, False for padding, which nothing attends to.
            prompts: ``(B, P, C)`` for each layer from the first on; None, or none left: no prompt.
            after: functions of each layer's output ``(B, S, C)``; None, or none left: unchanged.
        """
        x_BSC = self.embeddings(ids_BS)
        bias = x_BSC.new_zeros(mask_BS.shape).masked_fill(~mask_BS, torch.finfo(x_BSC.dtype).min)
        for i, layer in enumerate(self.encoder.get_submodule("layer").children()):
            x_BSC = layer(x_BSC, bias[:, None, None], prompts[i] if i < len(prompts) else None)
            change = after[i] if i < len(after) else None
            x_BSC = x_BSC if change is None else change(x_BSC)
        return x_BSC


class Embeddings(nn.Module):
    """Words, positions and the one segment, normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.width)
        self.position_embeddings = nn.Embedding(config.max_length, config.width)
        self.token_type_embeddings = nn.Embedding(2, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, ids_BS: Tensor) -> Tensor:
        """Return ``(B, S, C)``."""
        places = torch.arange(ids_BS.shape[1], device=ids_BS.device)
        segment = self.token_type_embeddings.weight[0]
        return self.LayerNorm(
            self.word_embeddings(ids_BS) + self.position_embeddings(places) + segment
        )


class Layer(nn.Module):
    """Attention and MLP, post-norm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(config), "output": Output(config.width, config)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.width, config.hidden)})
        self.output = Output(config.hidden, config)

    def forward(self, x_BSC: Tensor, bias: Tensor, prompt_BPC: Tensor | None) -> Tensor:
        """Return ``(B, S, C)``."""
        x_BSC = self.attention["output"](self.attention["self"](x_BSC, bias, prompt_BPC), x_BSC)
        return self.output(functional.gelu(self.intermediate["dense"](x_BSC)), x_BSC)


class SelfAttention(nn.Module):
    """Queries of the tokens; keys and values of tokens and prompts."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)

    def forward(self, x_BSC: Tensor, bias: Tensor, prompt_BPC: Tensor | None) -> Tensor:
        """Return ``(B, S, C)``."""
        prefix = None
        if prompt_BPC is not None and prompt_BPC.shape[1]:
            prefix = (self._heads(self.key(prompt_BPC)), self._heads(self.value(prompt_BPC)))
        q, k, v = (self._heads(part(x_BSC)) for part in (self.query, self.key, self.value))
        return attend_with_prefix(q, k, v, prefix, bias).transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Output(nn.Module):
    """Linear, residual, norm."""

    def __init__(self, width_in: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(width_in, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, x_BSC: Tensor, residual_BSC: Tensor) -> Tensor:
        """Return ``(B, S, C)``."""
        return self.LayerNorm(self.dense(x_BSC) + residual_BSC)
