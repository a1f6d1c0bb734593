"""Small conditions and generators that the tests of stages 1 and 2 share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffuprompt.grounding.contract import Context, Tokens
from diffuprompt.grounding.masks.condition import (
    Condition,
    PooledCondition,
    TokensCondition,
    pooled_condition,
    tokens_condition,
)
from diffuprompt.grounding.masks.encoder import EncoderConfig
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.settings import GeneratorConfig

SMALL: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2}
GRID = (4, 4)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=stream(seed))


def context(batch: int = 2, words: int = 5, seed: int = 0) -> Context:
    """A picture of 16 x 16 px with levels of stride 2, 4 and 8; the last caption is shorter."""
    mask = torch.ones(batch, words, dtype=torch.bool)
    mask[-1, -1] = False
    offsets = tuple(tuple((4 * s, 4 * s + 3) for s in range(words)) for _ in range(batch))
    sides = (8, 4, 2)
    return Context(
        levels=tuple(drawn(batch, 3, n, n, seed=seed + n) for n in sides),
        alignment=tuple(5 * drawn(batch, n, n, words, seed=seed + 20 + n) for n in sides),
        language=drawn(batch, words, 6, seed=seed + 40),
        tokens=Tokens(ids=torch.zeros(batch, words, dtype=torch.long), mask=mask, offsets=offsets),
    )


def tokens_of(batch: int = 2, words: int = 5, seed: int = 0) -> TokensCondition:
    return tokens_condition(context(batch, words, seed), [(0, 7)] * batch, GRID)


def pooled_of(batch: int = 2, width: int = 10) -> PooledCondition:
    return pooled_condition(drawn(batch, width, seed=1), drawn(batch, width, seed=2))


def condition_of(kind: str, batch: int = 2) -> Condition:
    return tokens_of(batch) if kind == "tokens" else pooled_of(batch)


def generator_of(kind: str = "tokens", seed: int = 0, **changes: Any) -> MaskGenerator:
    """A small generator whose network, other than a new one, says something."""
    settings = GeneratorConfig(
        condition=kind, encoder=EncoderConfig(**SMALL), **{**SMALL, **changes}
    )
    made = MaskGenerator(settings, condition_of(kind).widths(), generator=stream(seed))
    with torch.no_grad():
        for parameter in made.dit.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=stream(7)))
    return made.eval()
