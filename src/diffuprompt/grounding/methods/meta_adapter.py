"""Meta-Adapter (arXiv 2311.03774) for grounding: text features refined by few-shot visual ones.

Tokens attend to training objects, found by their root phrases, and take in what the objects looked
like, behind a gate (the paper's eq. 4 and 5; there a class attends to its own shots).

Legend: B sample, S token, N remembered objects, D width of a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.grounding.contract import Adaptation, Batch, Detector, Inputs, Method, Sites
from diffuprompt.grounding.methods.layers import linear
from diffuprompt.grounding.methods.settings import Settings, Width
from diffuprompt.grounding.methods.shots import training_shots


@dataclass(frozen=True, kw_only=True)
class MetaAdapterConfig(Settings):
    """``size`` objects are remembered; ``width`` is that of queries and keys."""

    size: Width = 128
    width: Width = 64


class MetaAdapter(Method):
    """Gated cross-attention from tokens to training objects; `prepare` fills the memory."""

    cells: Tensor
    texts: Tensor
    filled: Tensor

    def __init__(self, sites: Sites, config: MetaAdapterConfig, init: torch.Generator) -> None:
        super().__init__()
        channels, width = sites.levels[0], sites.language
        self.query = linear(width, config.width, init, bias=False)
        self.key = linear(width, config.width, init, bias=False)
        self.value = linear(channels, width, init, bias=False)
        self.gate = linear(width, width, init)
        self.register_buffer("cells", torch.zeros(config.size, channels))
        self.register_buffer("texts", torch.zeros(config.size, width))
        self.register_buffer("filled", torch.zeros(config.size, dtype=torch.bool))

    def prepare(self, detector: Detector, batches: Callable[[], Iterable[Batch]]) -> None:
        """Remember training objects."""
        shots = training_shots(detector, batches, len(self.cells))
        count = len(shots.cells)
        self.cells[:count], self.texts[:count] = shots.cells, shots.texts
        self.filled[:count] = True

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return a function of the text features; nothing is added before `prepare`."""
        return Adaptation(language=self._refined) if self.filled.any() else Adaptation()

    def _refined(self, language_BSD: Tensor) -> Tensor:
        texts, cells = self.texts[self.filled], self.cells[self.filled]
        keys, values = (
            part.expand(len(language_BSD), -1, -1) for part in (self.key(texts), self.value(cells))
        )
        queries = self.query(language_BSD)
        found = functional.scaled_dot_product_attention(queries, keys, values)
        return language_BSD + torch.sigmoid(self.gate(language_BSD)) * found
