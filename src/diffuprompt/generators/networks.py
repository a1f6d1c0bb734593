"""What the rivals are made of: a transformer of queries, one that reads, and their budget.

Legend: B image, E embedding, D width, K latent number, P token, Z normalised coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import (
    Block,
    PiNetwork,
    TokenCodec,
    TokenGroup,
    TransformerConfig,
    dropout,
    linear,
)


class QueryTransformer(nn.Module):
    """``(condition, latent) -> (B, Z)``: learned queries look at the image's token.

    Diffusion's network with queries for the noisy state, without time, and with one token for a
    latent vector where there is one. The decoder starts at zero: untrained, it returns 0 exactly.
    """

    def __init__(
        self,
        config: TransformerConfig,
        groups: Sequence[TokenGroup],
        condition_width: int,
        *,
        latent: int = 0,
        generator: torch.Generator,
    ) -> None:
        """Build and initialise from ``generator``; ``latent`` is K, or 0 for none."""
        super().__init__()
        self.config = config
        self.codec = TokenCodec(groups, config.width, shared=config.shared_io)
        del self.codec.encoders  # it starts from queries, not from a state
        self.pi = PiNetwork(condition_width, config.width, kind=config.pi)
        self.latent = linear(latent, config.width) if latent else None
        self.queries = nn.Parameter(torch.empty(self.codec.tokens, config.width))
        self.trunk = Trunk(config)
        reset(self, generator)

    def forward(
        self,
        condition_BE: Tensor,
        latent_BK: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return ``(B, Z)``; ``generator`` draws the dropout masks of training mode."""
        batch, tokens = condition_BE.shape[0], self.codec.tokens
        parts = [self.queries.expand(batch, -1, -1), self.pi(condition_BE)[:, None]]
        if self.latent is not None and latent_BK is not None:
            parts.append(self.latent(latent_BK).expand(batch, -1)[:, None])
        return self.codec.decode(self.trunk(torch.cat(parts, 1), generator)[:, :tokens])


class ReadingTransformer(nn.Module):
    """``(z, condition) -> (B, D)``: reads prompts beside the image's token, into one vector."""

    def __init__(
        self,
        config: TransformerConfig,
        groups: Sequence[TokenGroup],
        condition_width: int,
        *,
        generator: torch.Generator,
    ) -> None:
        """Build and initialise from ``generator``."""
        super().__init__()
        self.codec = TokenCodec(groups, config.width, shared=config.shared_io)
        del self.codec.decoders
        self.pi = PiNetwork(condition_width, config.width, kind=config.pi)
        self.positions = nn.Parameter(torch.empty(self.codec.tokens + 1, config.width))
        self.trunk = Trunk(config)
        reset(self, generator)

    def forward(
        self, z_BZ: Tensor, condition_BE: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean of all tokens ``(B, D)``."""
        tokens = [self.codec.encode(z_BZ), self.pi(condition_BE)[:, None]]
        return self.trunk(torch.cat(tokens, 1) + self.positions, generator).mean(1)


class Trunk(nn.Module):
    """LayerNorm, the blocks of diffusion's network, LayerNorm."""

    def __init__(self, config: TransformerConfig) -> None:
        """Allocate; weights are undefined until `reset`."""
        super().__init__()
        self.config = config
        self.input_norm = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio, config.dropout)
            for _ in range(config.layers)
        )
        self.output_norm = nn.LayerNorm(config.width)

    def forward(self, x_BSD: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return ``(B, S, D)``."""
        rate = self.config.dropout if self.training else 0.0
        x_BSD = dropout(self.input_norm(x_BSD), rate, generator)
        for block in self.blocks:
            x_BSD = block(x_BSD, generator)
        return self.output_norm(x_BSD)


@torch.no_grad()
def reset(module: nn.Module, generator: torch.Generator) -> None:
    """Initialise as diffusion's network: weights N(0, 0.02), biases and decoders 0, pi its own.

    Queries and positions are drawn: zero queries of one group would stay equal for ever.
    """
    for name, parameter in module.named_parameters():
        if "norm." in name:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        elif "decoders" in name or parameter.ndim == 1:
            parameter.zero_()
        else:
            parameter.normal_(0, 0.02, generator=generator)
    for part in module.modules():
        if isinstance(part, PiNetwork):
            part.reset(generator)


def budget(size: str) -> int:
    """Return the parameters in the blocks of diffusion's network of one size, which rule it."""
    config = TransformerConfig.preset(size)
    return config.layers * (4 + 2 * config.mlp_ratio) * config.width**2


def hidden_width(parameters: int, linear_terms: int) -> int:
    """Return h with ``h^2 + linear_terms * h`` nearest to ``parameters``, at least 32."""
    half = linear_terms / 2
    return max(32, round(math.sqrt(half**2 + parameters) - half))


@contextmanager
def borrowed_chance(generator: torch.Generator) -> Iterator[None]:
    """Let torch's global state be ``generator`` inside, for libraries that draw from it."""
    kept = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        torch.set_rng_state(kept)
