"""FedTPG (arXiv 2310.06123): a network writes text prompts from the text itself, in one client.

Learned queries attend to what the caption says (its eq. 4). Diff-Prompt's release gives attention
one pooled text feature, so that all queries get the same answer and learn nothing; here they read
the detector's word embeddings of all tokens.

Legend: B caption, S token, P prompts, D text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Sites, Tokens
from diffuprompt.grounding.methods.layers import linear, normal
from diffuprompt.grounding.methods.settings import Depth, Settings, Width
from diffuprompt.ranges import Range


@dataclass(frozen=True, kw_only=True)
class FedTpgConfig(Settings):
    """Settings of the network.

    Attributes:
        depth: text layers that are prompted, each by a network of its own; FedTPG's is 1.
        length: prompts of a layer.
        heads: of attention.
        hidden: width of the MLP behind it.
    """

    depth: Depth = 1
    length: Annotated[int, Range(1, 1024)] = 8
    heads: Annotated[int, Range(1, 64)] = 4
    hidden: Width = 64


class FedTpg(Method):
    """Text prompts of each caption; ``words_VD`` are the detector's frozen word embeddings."""

    def __init__(
        self, sites: Sites, config: FedTpgConfig, init: torch.Generator, *, words_VD: Tensor
    ) -> None:
        super().__init__()
        widths = sites.textual[: config.depth]
        uneven = [width for width in widths if width % config.heads]
        if uneven:
            raise ConfigError(f"fedtpg: heads: {config.heads} do not divide the width {uneven[0]}")
        # In a tuple, so that it is no part of the state that is saved.
        self._words = (words_VD,)
        self.writers = nn.ModuleList(
            PromptWriter(words_VD.shape[1], width, config, init) for width in widths
        )

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return text prompts."""
        words = self._of(inputs.tokens)
        mask = inputs.tokens.mask
        return Adaptation(textual=[write(words, mask) for write in self.writers])

    def _of(self, tokens: Tokens) -> Tensor:
        return functional.embedding(tokens.ids, self._words[0].detach())


class PromptWriter(nn.Module):
    """Queries attend to the words, then an MLP."""

    def __init__(
        self, width_in: int, width: int, config: FedTpgConfig, init: torch.Generator
    ) -> None:
        super().__init__()
        self.heads = config.heads
        self.queries = normal(config.length, width, init=init, std=1.0)
        self.read = nn.LayerNorm(width_in)
        self.key = linear(width_in, width, init, bias=False)
        self.value = linear(width_in, width, init)
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = linear(width, config.hidden, init), linear(config.hidden, width, init)

    def forward(self, words_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """Return ``(B, P, D)``; ``mask_BS`` is True for tokens."""
        words = self.read(words_BSD)
        keys, values = (self._split(part(words)) for part in (self.key, self.value))
        queries = self._split(self.queries.expand(len(words), -1, -1))
        seen = mask_BS[:, None, None]
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        x = self.norm(found.transpose(1, 2).flatten(2))
        return self.fc2(functional.relu(self.fc1(x)))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
