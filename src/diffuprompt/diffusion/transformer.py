"""The denoising network: a transformer over the tokens of a flat vector, a condition and a time.

Tokens are ``[z_1 .. z_P, pi, tau]`` and the output is read at the first P positions. Layout of
G.pt (arXiv 2209.12892) and ProtoDiff, conditioning of Prompt Diffusion (arXiv 2410.20164).

Legend: B batch, F flat, P tokens of the state, E condition width, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.diffusion.attention import Block, dropout, linear
from diffuprompt.diffusion.token_codec import TokenCodec, TokenGroup
from diffuprompt.errors import ConfigError, PromptShapeError, near_miss


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Size of the network; the defaults are ProtoDiff's, which Prompt Diffusion descends from.

    ``max_freq_log2`` 6 replaces their 14: their code is meaningless between integer times.
    """

    width: int = 512
    layers: int = 12
    heads: int = 16
    mlp_ratio: int = 4
    dropout: float = 0.1
    num_frequencies: int = 128
    max_freq_log2: float = 6.0
    shared_io: bool = True

    def __post_init__(self) -> None:
        """Raise `ConfigError` for impossible sizes."""
        if self.heads < 1 or self.width % self.heads:
            raise ConfigError(f"width: {self.width} is not a multiple of heads={self.heads}")
        if self.layers < 1 or self.num_frequencies < 1 or self.mlp_ratio < 1:
            raise ConfigError("layers, num_frequencies, mlp_ratio: expected at least 1")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout: expected a value in [0, 1), got {self.dropout}")

    @classmethod
    def preset(cls, name: str) -> TransformerConfig:
        """Return ``paper`` (38.8 M parameters for 4 x 512) or ``small`` (4.7 M in the blocks)."""
        presets = {"paper": cls(), "small": cls(width=256, layers=6, heads=8, dropout=0.0)}
        if name not in presets:
            hint = near_miss(name, list(presets))
            raise ConfigError(f"preset: expected one of {sorted(presets)}, got {name!r}.{hint}")
        return presets[name]


def time_code(u: Tensor, num_frequencies: int, max_freq_log2: float) -> Tensor:
    """Return ``[sin(w_k u), cos(w_k u), u]``, ``(B, 2 K + 1)``, for ``u`` ``(B,)`` in [0, 1].

    ``w_k = 2^linspace(0, max_freq_log2, K)`` (Mildenhall et al. 2020, arXiv 2003.08934, eq. 4).
    At T = 100 the default turns by at most 0.64 rad a step, so it is smooth between the steps.
    """
    powers = torch.linspace(0, max_freq_log2, num_frequencies, dtype=u.dtype, device=u.device)
    angles = u[:, None] * 2**powers
    return torch.cat([angles.sin(), angles.cos(), u[:, None]], dim=1)


class PiNetwork(nn.Module):
    """pi, the condition token: CoCoOp's Meta-Net on the image feature (arXiv 2203.05557, sec. 3.2).

    Linear(E, E/16), ReLU, Linear(E/16, E). Two deviations. The feature is divided by its RMS, not
    by its norm: coordinates of size 1 instead of 1/sqrt(E) keep pi visible at initialisation,
    above the epsilon of the LayerNorm that follows. And at least 32 hidden units (CoCoOp's at
    E = 512) remain for narrow towers, where a handful of ReLUs may all be silent for an image.
    """

    def __init__(self, feature_width: int, out_width: int | None = None) -> None:
        """Allocate the weights, uninitialised; ``out_width`` defaults to ``feature_width``."""
        super().__init__()
        hidden = max(32, feature_width // 16)
        self.squeeze = linear(feature_width, hidden)
        self.expand = linear(hidden, out_width or feature_width)

    def forward(self, condition_BE: Tensor) -> Tensor:
        """Return pi ``(B, out_width)``; the scale of the feature does not matter."""
        unit = functional.normalize(condition_BE, dim=-1) * math.sqrt(condition_BE.shape[-1])
        return self.expand(functional.relu(self.squeeze(unit)))

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None) -> None:
        """Draw weights of standard deviation 1/sqrt(fan-in) from ``generator``; zero biases."""
        for layer in (self.squeeze, self.expand):
            layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()


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
        self.pi = PiNetwork(condition_width)
        self.pi_encoder = nn.Parameter(torch.empty(condition_width, width))
        self.time_encoder = nn.Parameter(torch.empty(2 * config.num_frequencies + 1, width))
        self.input_norm = nn.LayerNorm(width)
        self.positions = nn.Parameter(torch.empty(self.codec.tokens + 2, width))
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
        """Initialise as GPT-2: weights N(0, 0.02), biases 0; zero positions and decoders."""
        for name, parameter in self.named_parameters():
            if "norm." in name:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            elif name == "positions" or name.startswith("codec.decoders") or parameter.ndim == 1:
                parameter.zero_()
            else:
                parameter.normal_(0, 0.02, generator=generator)
        self.pi.reset(generator)

    def no_decay(self) -> frozenset[str]:
        """Return the names of biases, norms and positions, which take no weight decay."""
        return frozenset(n for n, p in self.named_parameters() if p.ndim == 1 or n == "positions")

    def forward(
        self,
        z_BF: Tensor,
        condition_BE: Tensor,
        u_B: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the prediction ``(B, F)``.

        Args:
            z_BF: state with unit-variance scaling, ``(B, F)``.
            condition_BE: image features, ``(B|1, E)``.
            u_B: time in [0, 1], ``(B|1,)``.
            generator: draws the dropout masks; needed in training mode with dropout above 0.

        Raises:
            PromptShapeError: a shape differs from the above.
            ConfigError: dropout has no generator.
        """
        self._check(z_BF, condition_BE, u_B)
        config, batch = self.config, z_BF.shape[0]
        code = time_code(u_B, config.num_frequencies, config.max_freq_log2)
        pi_BD = (self.pi(condition_BE) @ self.pi_encoder).expand(batch, -1)
        tau_BD = (code.to(z_BF.dtype) @ self.time_encoder).expand(batch, -1)
        x = torch.cat([self.codec.encode(z_BF), pi_BD[:, None], tau_BD[:, None]], dim=1)
        x = self.input_norm(x) + self.positions
        x = dropout(x, config.dropout if self.training else 0.0, generator)
        for block in self.blocks:
            x = block(x, generator)
        return self.codec.decode(self.output_norm(x[:, : self.codec.tokens]))

    def _check(self, z_BF: Tensor, condition_BE: Tensor, u_B: Tensor) -> None:
        batch = z_BF.shape[0]
        shape = tuple(condition_BE.shape)
        if shape not in ((batch, self.condition_width), (1, self.condition_width)):
            raise PromptShapeError(
                f"condition: expected ({batch}|1, {self.condition_width}), got {shape}"
            )
        if tuple(u_B.shape) not in ((batch,), (1,)):
            raise PromptShapeError(f"u: expected ({batch}|1,), got {tuple(u_B.shape)}")
