"""The transformer block both towers are made of (Radford et al. 2021; pre-norm, GPT-2 style).

Legend: B batch, S sequence, D width, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip.changes import BlockChange, added, normed
from diffuprompt.clip.config import Activation, TowerConfig


def quick_gelu(x: Tensor) -> Tensor:
    """Return ``x * sigmoid(1.702 x)``, the activation of OpenAI's weights.

    Written with SiLU, whose backward keeps one tensor instead of two.
    """
    return functional.silu(1.702 * x) / 1.702


def _tanh_gelu(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "quick_gelu": quick_gelu,
    "gelu": functional.gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
}


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def split_heads(self, x_BSD: Tensor) -> Tensor:
        """``(B, S, D)`` to ``(B, H, S, K)``."""
        return x_BSD.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def merge_heads(self, x_BHSK: Tensor) -> Tensor:
        """``(B, H, S, K)`` to ``(B, S, D)``."""
        return x_BHSK.transpose(-3, -2).flatten(-2)

    def project(
        self, x_BSD: Tensor, change: BlockChange | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each ``(B, S, D)``."""
        q, k, v = self.qkv(x_BSD).chunk(3, dim=-1)
        if change is None:
            return q, k, v
        return added(q, x_BSD, change.q), added(k, x_BSD, change.k), added(v, x_BSD, change.v)

    def forward(self, x_BSD: Tensor, *, causal: bool, change: BlockChange | None = None) -> Tensor:
        """Attend over the sequence; ``(B, S, D)`` to ``(B, S, D)``."""
        q, k, v = (self.split_heads(t) for t in self.project(x_BSD, change))
        return self.out(
            self.merge_heads(functional.scaled_dot_product_attention(q, k, v, is_causal=causal))
        )

    def project_query(
        self, query_BQD: Tensor, x_BSD: Tensor, change: BlockChange | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Like `project`, with queries for a few positions only."""
        weight, bias, width = self.qkv.weight, self.qkv.bias, query_BQD.shape[-1]
        q = functional.linear(query_BQD, weight[:width], bias[:width])
        k, v = functional.linear(x_BSD, weight[width:], bias[width:]).chunk(2, dim=-1)
        if change is None:
            return q, k, v
        return added(q, query_BQD, change.q), added(k, x_BSD, change.k), added(v, x_BSD, change.v)


class Block(nn.Module):
    """``x += attention(ln_1(x)); x += mlp(ln_2(x))``; ``change`` says what differs for one call."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        width = config.width
        self.ln_1 = nn.LayerNorm(width, eps=config.eps)
        self.attn = Attention(width, config.heads)
        self.ln_2 = nn.LayerNorm(width, eps=config.eps)
        self.fc1 = nn.Linear(width, config.mlp_width)
        self.fc2 = nn.Linear(config.mlp_width, width)
        self.act = ACTIVATIONS[config.activation]

    def norm(self, x: Tensor, change: BlockChange | None = None) -> Tensor:
        """What attention reads; any leading shape."""
        return normed(self.ln_1, x, None if change is None else change.ln_1)

    def mlp(self, x: Tensor, change: BlockChange | None = None) -> Tensor:
        """Residual branch of the MLP, its norm included; any leading shape."""
        read = normed(self.ln_2, x, None if change is None else change.ln_2)
        return self.fc2(self.act(self.fc1(read)))

    def forward(self, x_BSD: Tensor, *, causal: bool, change: BlockChange | None = None) -> Tensor:
        """``(B, S, D)`` to ``(B, S, D)``."""
        x = x_BSD + self.attn(self.norm(x_BSD, change), causal=causal, change=change)
        return x + self.mlp(x, change)

    def pooled(self, x_BSD: Tensor, position: int, change: BlockChange | None = None) -> Tensor:
        """Output at one position only, ``(B, D)``, which attends to the whole sequence.

        In a last layer nothing reads the other positions; their keys and values are all it needs.
        """
        read = self.norm(x_BSD, change)
        at = slice(position, position + 1)
        projected = self.attn.project_query(read[:, at], read, change)
        q, k, v = (self.attn.split_heads(t) for t in projected)
        mixed = self.attn.merge_heads(functional.scaled_dot_product_attention(q, k, v))
        x = x_BSD[:, at] + self.attn.out(mixed)
        return (x + self.mlp(x, change))[:, 0]


class Blocks(nn.ModuleList):
    """A list of `Block`, known as such to type checkers."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__(Block(config) for _ in range(config.layers))
        self.width, self.mlp_width = config.width, config.mlp_width

    def __iter__(self) -> Iterator[Block]:
        return super().__iter__()  # type: ignore[return-value]

    def kept_bytes(self, element_size: int = 4) -> int:
        """Bytes that one token leaves in all blocks for a backward pass to prompts.

        Weights are frozen, so products keep no inputs: what stays are the norms' two inputs, the
        queries, keys and values, and two vectors of the MLP's width. Counted on towers of 12
        layers: 12.7 vectors of the width per block on the packed text path, 9.6 in the image tower;
        this says 13.
        """
        return (5 * self.width + 2 * self.mlp_width) * element_size * len(self)


def init_transformer(blocks: Blocks, width: int, layers: int) -> None:
    """Initialise blocks as CLIP does (Radford et al. 2021, appendix; GPT-2 scaling of outputs)."""
    attn_std, proj_std, fc_std = (
        width**-0.5,
        (width**-0.5) * (2 * layers) ** -0.5,
        (2 * width) ** -0.5,
    )
    for block in blocks:
        nn.init.normal_(block.attn.qkv.weight, std=attn_std)
        nn.init.normal_(block.attn.out.weight, std=proj_std)
        nn.init.normal_(block.fc1.weight, std=fc_std)
        nn.init.normal_(block.fc2.weight, std=proj_std)
        for linear in (block.attn.qkv, block.attn.out, block.fc1, block.fc2):
            nn.init.zeros_(linear.bias)
