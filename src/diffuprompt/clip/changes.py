"""What differs in a tower for one call: low-rank additions to attention, other norms.

A change is an argument, as prompts are: the tower's weights are read and never written, so the same
tower serves any number of changes, in any threads.

Legend: D width, R rank, S any leading shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip.config import TowerConfig
from diffuprompt.engine import generator_on
from diffuprompt.errors import PromptShapeError


@dataclass(frozen=True)
class Dropout:
    """Entries are zero with probability ``rate``; the mask follows from ``seed`` and the shape.

    So a pass that is computed again for its gradients has the same masks. Masks of an accelerator
    are drawn there and differ from those of the CPU.
    """

    rate: float
    seed: int

    def __call__(self, x: Tensor) -> Tensor:
        """``(*S, D)`` to ``(*S, D)``, scaled so that its mean stays."""
        generator = generator_on(x.device, self.seed)
        mask = torch.rand(x.shape, generator=generator, device=x.device) >= self.rate
        return x * (mask.to(x.dtype) / (1 - self.rate))


@dataclass(frozen=True, eq=False)
class LowRank:
    """``x -> up @ down @ x``, added to a linear map (LoRA, Hu et al. 2022, arXiv 2106.09685).

    ``down`` is ``(R, D)``, ``up`` ``(D, R)`` with the method's factor in it; ``dropout`` acts on
    what ``down`` reads.
    """

    down: Tensor
    up: Tensor
    dropout: Dropout | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """``(*S, D)`` to ``(*S, D)``."""
        read = x if self.dropout is None else self.dropout(x)
        # As rows: of more axes, torch chooses the product by whether `down` is being learned, and
        # what is loaded would differ from what was saved in the last bits.
        rows = functional.linear(functional.linear(read.flatten(0, -2), self.down), self.up)
        return rows.view(x.shape)

    def in_chunk(self, number: int) -> LowRank:
        """See `TowerChange.in_chunk`."""
        if self.dropout is None:
            return self
        return replace(self, dropout=replace(self.dropout, seed=self.dropout.seed + number))


@dataclass(frozen=True, eq=False)
class Norm:
    """Weight and bias ``(D,)`` in the place of a norm's own."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockChange:
    """What differs in one block: additions to queries, keys and values, and its two norms."""

    q: LowRank | None = None
    k: LowRank | None = None
    v: LowRank | None = None
    ln_1: Norm | None = None
    ln_2: Norm | None = None

    def in_chunk(self, number: int) -> BlockChange:
        """See `TowerChange.in_chunk`."""
        q, k, v = (p and p.in_chunk(number) for p in (self.q, self.k, self.v))
        return replace(self, q=q, k=k, v=v)


@dataclass(frozen=True, eq=False, kw_only=True)
class TowerChange:
    """What differs in one tower.

    Attributes:
        blocks: by layer.
        ln_first: the norm before the blocks; only image towers have one.
        ln_last: the norm behind the blocks.
    """

    blocks: Mapping[int, BlockChange] = field(default_factory=dict)
    ln_first: Norm | None = None
    ln_last: Norm | None = None

    def tensors(self) -> Iterator[Tensor]:
        """Yield all that it is made of."""
        for _, part in self._parts():
            yield from (part.weight, part.bias) if isinstance(part, Norm) else (part.down, part.up)

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass is to reach any of it."""
        return any(tensor.requires_grad for tensor in self.tensors())

    @property
    def drops(self) -> bool:
        """Whether there is dropout in it."""
        return any(isinstance(p, LowRank) and p.dropout is not None for _, p in self._parts())

    def in_chunk(self, number: int) -> TowerChange:
        """Return the same for one of several parts of the texts, counted from 0.

        Masks of dropout are each part's own; those of the first are as they are here.
        """
        if not number or not self.drops:
            return self
        return replace(self, blocks={i: block.in_chunk(number) for i, block in self.blocks.items()})

    @property
    def kept_vectors(self) -> int:
        """Vectors of the width that one token leaves in a block beside those of `kept_bytes`.

        What ``down`` reads is kept for its gradient: the norm's output once, or with dropout a copy
        of it and a mask for each of queries, keys and values.
        """
        pairs = [part for _, part in self._parts() if isinstance(part, LowRank)]
        return 0 if not pairs else 1 if all(p.dropout is None for p in pairs) else 6

    def check(self, config: TowerConfig, tower: str) -> None:
        """Raise `PromptShapeError` with everything that does not fit a tower of this shape."""
        width, last = config.width, config.layers - 1
        problems = [f"layer {i} is outside 0..{last}" for i in self.blocks if not 0 <= i <= last]
        if tower == "text" and self.ln_first is not None:
            problems.append("ln_first: a text tower has no norm before its blocks")
        for name, part in self._parts():
            if isinstance(part, Norm):
                fits = part.weight.shape == part.bias.shape == (width,)
                want, got = f"({width},) twice", (tuple(part.weight.shape), tuple(part.bias.shape))
            else:
                fits = part.down.shape[1:] == (width,) and part.up.shape == part.down.T.shape
                want = f"(R, {width}) and ({width}, R)"
                got = (tuple(part.down.shape), tuple(part.up.shape))
            if not fits:
                problems.append(f"{name}: expected {want}, got {got[0]} and {got[1]}")
        if problems:
            raise PromptShapeError(f"changes of the {tower} tower: " + "; ".join(problems))

    def _parts(self) -> Iterator[tuple[str, Norm | LowRank]]:
        """Yield what there is, with a name for messages."""
        for layer, block in self.blocks.items():
            for name, part in vars(block).items():
                if part is not None:
                    yield f"layer {layer}, {name}", part
        for name, norm in (("ln_first", self.ln_first), ("ln_last", self.ln_last)):
            if norm is not None:
                yield name, norm


def at_layer(change: TowerChange | None, layer: int) -> BlockChange | None:
    """Return what differs in one block, None for nothing."""
    return None if change is None else change.blocks.get(layer)


def normed(layer: nn.LayerNorm, x: Tensor, other: Norm | None) -> Tensor:
    """Return ``layer(x)``, with another weight and bias where they are given."""
    if other is None:
        return layer(x)
    return functional.layer_norm(x, layer.normalized_shape, other.weight, other.bias, layer.eps)


def added(y: Tensor, x: Tensor, pair: LowRank | None) -> Tensor:
    """Return ``y``, a linear map of ``x``, with a low-rank addition where there is one."""
    return y if pair is None else y + pair(x)
