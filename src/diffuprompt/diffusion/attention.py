"""The transformer block: pre-norm, bidirectional, explicit qkv, explicit dropout masks.

Legend: B batch, S tokens, D width, H heads, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.engine import generator_on
from diffuprompt.errors import ConfigError


def linear(width_in: int, width_out: int) -> nn.Linear:
    """Return an `nn.Linear` without drawing from the global generator; weights are undefined."""
    place = torch.get_default_device()
    return nn.utils.skip_init(nn.Linear, width_in, width_out, device=place)


def dropout(x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Drop entries with probability ``rate``, with a mask drawn from ``generator`` only.

    On an accelerator the mask is drawn there, from a seed that ``generator`` draws on the host: to
    copy masks would cost more than the layer, so they differ from those of the CPU.

    Raises:
        ConfigError: ``rate`` is above 0 and there is no generator, so that a resumed training
            could not repeat the mask.
    """
    if rate == 0:
        return x
    if generator is None:
        raise ConfigError(
            f"generator: dropout {rate} in training needs a torch.Generator; "
            "pass one, or call eval(), or use dropout=0"
        )
    if generator.device.type != x.device.type:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        generator = generator_on(x.device, seed)
    mask = torch.rand(x.shape, generator=generator, device=x.device) >= rate
    return x * mask.to(x.dtype) / (1 - rate)


class Block(nn.Module):
    """GPT-2's pre-norm block without the causal mask (G.pt removes it, arXiv 2209.12892).

    Dropout acts on the two residual branches, not on attention probabilities.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        """Allocate the block; linear weights are undefined until initialised by the owner."""
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = linear(width, 3 * width)
        self.out = linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = linear(width, mlp_ratio * width)
        self.mlp_out = linear(mlp_ratio * width, width)

    def forward(self, x_BSD: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return ``(B, S, D)``; ``generator`` draws the dropout masks of training mode."""
        rate = self.dropout if self.training else 0.0
        x_BSD = x_BSD + dropout(self._attend(self.attention_norm(x_BSD)), rate, generator)
        return x_BSD + dropout(self._mlp(self.mlp_norm(x_BSD)), rate, generator)

    def _mlp(self, x_BSD: Tensor) -> Tensor:
        return self.mlp_out(functional.gelu(self.mlp_in(x_BSD)))

    def _attend(self, x_BSD: Tensor) -> Tensor:
        qkv = self.qkv(x_BSD).unflatten(-1, (3, self.heads, -1))
        q_BHSK, k_BHSK, v_BHSK = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        # Written out: the fused kernel of CPUs is slower to train on a few dozen tokens, and has no
        # second derivative, which the GAN's critic needs.
        scores_BHSS = q_BHSK @ k_BHSK.transpose(-2, -1) * q_BHSK.shape[-1] ** -0.5
        mixed_BHSK = scores_BHSS.softmax(dim=-1) @ v_BHSK
        return self.out(mixed_BHSK.transpose(1, 2).flatten(2))
