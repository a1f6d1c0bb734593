"""The denoising network: a transformer over the tokens of a flat vector, a condition and a time.

Tokens are ``[z_1 .. z_P, pi, tau]`` and the output is read at the first P positions. Layout of
G.pt (arXiv 2209.12892) and ProtoDiff, conditioning of Prompt Diffusion (arXiv 2410.20164).

Legend: B batch, F flat, P tokens of the state, K of the time, E condition width, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.diffusion.attention import Block, dropout
from diffuprompt.diffusion.condition import Pi, PiNetwork, time_code
from diffuprompt.diffusion.token_codec import TokenCodec, TokenGroup
from diffuprompt.errors import ConfigError, PromptShapeError, near_miss


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Size of the network; the defaults are ProtoDiff's, which Prompt Diffusion descends from.

    Attributes:
        max_freq_log2: 6 replaces their 14, a code that is meaningless between integer times.
        pi: how the condition becomes a token; see `PiNetwork`.
        time_tokens: tokens tau that carry the time, each by a linear map of its own.
        null: whether there is a learned stand-in for the condition, which guidance needs.
    """

    width: int = 512
    layers: int = 12
    heads: int = 16
    mlp_ratio: int = 4
    dropout: float = 0.1
    num_frequencies: int = 128
    max_freq_log2: float = 6.0
    shared_io: bool = True
    pi: Pi = "meta_net"
    time_tokens: int = 1
    null: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` for impossible sizes."""
        if self.heads < 1 or self.width % self.heads:
            raise ConfigError(f"width: {self.width} is not a multiple of heads={self.heads}")
        if min(self.layers, self.num_frequencies, self.mlp_ratio, self.time_tokens) < 1:
            raise ConfigError(
                "layers, num_frequencies, mlp_ratio, time_tokens: expected at least 1"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout: expected a value in [0, 1), got {self.dropout}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> TransformerConfig:
        """Return ``paper`` (38.8 M parameters for 4 x 512) or ``small`` (2.4 M in the blocks)."""
        presets = {"paper": cls(), "small": cls(width=256, layers=3, heads=8, dropout=0.0)}
        if name not in presets:
            hint = near_miss(name, list(presets))
            raise ConfigError(f"preset: expected one of {sorted(presets)}, got {name!r}.{hint}")
        return replace(presets[name], **changes)


class TokenTransformer(nn.Module):
    """``(z, condition, u) -> (B, F)``: one prediction for every coordinate of the flat vector.

    Pre-norm blocks with full attention, LayerNorm on the stacked inputs, learned positions (zero
    at first), a final LayerNorm and a decoder that starts at zero: untrained, it returns 0 exactly.
    """

    def __init__(
        self,
        config: TransformerConfig,
        groups: Sequence[TokenGroup],
        condition_width: int,
        *,
        generator: torch.Generator,
    ) -> None:
        """Build and initialise from ``generator`` (on the CPU); the global one is not touched.

        Raises:
            ConfigError: there is no group, or one is empty.
        """
        super().__init__()
        self.config, self.condition_width = config, condition_width
        width = config.width
        self.codec = TokenCodec(groups, width, shared=config.shared_io)
        self.pi = PiNetwork(condition_width, kind=config.pi)
        self.pi_encoder = nn.Parameter(torch.empty(condition_width, width))
        code, taus = 2 * config.num_frequencies + 1, config.time_tokens
        self.time_encoder = nn.Parameter(torch.empty(code, taus * width))
        if config.null:
            self.null = nn.Parameter(torch.empty(condition_width))
        self.input_norm = nn.LayerNorm(width)
        self.positions = nn.Parameter(torch.empty(self.codec.tokens + 1 + taus, width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.mlp_ratio, config.dropout)
            for _ in range(config.layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.reset(generator)

    @property
    def size(self) -> int:
        """F, the number of coordinates of the state."""
        return self.codec.size

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Initialise as GPT-2: weights N(0, 0.02), biases 0.

        Positions, decoders and the null condition start at zero.
        """
        for name, parameter in self.named_parameters():
            if "norm." in name:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            elif name.startswith(("codec.decoders", "positions")) or parameter.ndim == 1:
                parameter.zero_()
            else:
                parameter.normal_(0, 0.02, generator=generator)
        self.pi.reset(generator)

    def no_decay(self) -> frozenset[str]:
        """Return the names of biases, norms, positions and null, which take no weight decay."""
        named = self.named_parameters()
        return frozenset(n for n, p in named if p.ndim == 1 or n == "positions")

    def forward(
        self,
        z_BF: Tensor,
        condition_BE: Tensor,
        u_B: Tensor,
        *,
        keep: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the prediction ``(B, F)``.

        Args:
            z_BF: state with unit-variance scaling, ``(B, F)``.
            condition_BE: image features ``(B|1, E)``.
            u_B: time, ``(B|1,)``.
            keep: booleans ``(B|1,)``; where False the learned null replaces pi.
            generator: draws the dropout masks; needed in training mode with dropout above 0.

        Raises:
            PromptShapeError: a shape differs from the above.
            ConfigError: dropout has no generator, or ``keep`` no null condition.
        """
        self._check(z_BF, condition_BE, u_B, keep)
        config, tokens = self.config, self.codec.tokens
        batch = z_BF.shape[0]
        code = time_code(u_B, config.num_frequencies, config.max_freq_log2)
        tau_BD = (code.to(z_BF.dtype) @ self.time_encoder).expand(batch, -1)
        tau_BKD = tau_BD.unflatten(1, (config.time_tokens, config.width))
        pi_BE = self.pi(condition_BE)
        if keep is not None:
            pi_BE = torch.where(keep[:, None], pi_BE, self.null)
        pi_BD = (pi_BE @ self.pi_encoder).expand(batch, -1)
        parts = [self.codec.encode(z_BF), pi_BD[:, None], tau_BKD]
        x = self.input_norm(torch.cat(parts, dim=1)) + self.positions
        x = dropout(x, config.dropout if self.training else 0.0, generator)
        for block in self.blocks:
            x = block(x, generator)
        return self.codec.decode(self.output_norm(x[:, :tokens]))

    def _check(self, z_BF: Tensor, condition_BE: Tensor, u_B: Tensor, keep: Tensor | None) -> None:
        batch, width = z_BF.shape[0], self.condition_width
        if tuple(condition_BE.shape) not in ((batch, width), (1, width)):
            raise PromptShapeError(
                f"condition: expected ({batch}|1, {width}), got {tuple(condition_BE.shape)}"
            )
        if tuple(u_B.shape) not in ((batch,), (1,)):
            raise PromptShapeError(f"u: expected ({batch}|1,), got {tuple(u_B.shape)}")
        if keep is not None and tuple(keep.shape) not in ((batch,), (1,)):
            raise PromptShapeError(f"keep: expected ({batch}|1,), got {tuple(keep.shape)}")
        if keep is not None and not self.config.null:
            raise ConfigError(
                "keep: this network has no null condition to put in the place of one; "
                "build it with null=True (drop_condition above 0)"
            )
