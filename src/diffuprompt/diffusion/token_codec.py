"""Between the flat vector and equal-width tokens: bias-free encoders and decoders a group.

Legend: B batch, F flat, P tokens of the state, I token width outside, D width inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffuprompt.errors import ConfigError, PromptShapeError


@dataclass(frozen=True)
class TokenGroup:
    """``count`` consecutive tokens of ``width`` in the flat vector.

    With shared codecs, groups of equal ``codec`` and ``width`` use the same weights: name the
    modality there where two modalities happen to have one width.
    """

    count: int
    width: int
    codec: str = ""


def check_groups(groups: Sequence[TokenGroup]) -> list[TokenGroup]:
    """Return the groups with neighbours of one codec merged.

    Raises:
        ConfigError: there is no group, or one is empty.
    """
    if not groups or any(g.count < 1 or g.width < 1 for g in groups):
        raise ConfigError(f"groups: expected one or more non-empty groups, got {list(groups)}")
    merged: list[TokenGroup] = []
    for group in groups:
        last = merged[-1] if merged else None
        if last and (last.codec, last.width) == (group.codec, group.width):
            merged[-1] = TokenGroup(last.count + group.count, group.width, group.codec)
        else:
            merged.append(group)
    return merged


class TokenLinear(nn.Module):
    """Bias-free map of ``(B, P, I)`` to ``(B, P, O)``, one for all tokens or one for each."""

    def __init__(self, tokens: int, width_in: int, width_out: int) -> None:
        """Allocate the weights, uninitialised; ``tokens`` is 1 for a shared map."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, width_in, width_out))

    def forward(self, x_BPI: Tensor) -> Tensor:
        """Apply the map."""
        if self.weight.shape[0] == 1:
            return x_BPI @ self.weight[0]
        return torch.einsum("bpi,pio->bpo", x_BPI, self.weight)


class TokenCodec(nn.Module):
    """Flat ``(B, F)`` to tokens ``(B, P, D)`` and back (G.pt, Peebles et al. 2022, 2209.12892).

    ``shared`` is one codec a modality, otherwise every token has its own as in that paper.
    """

    def __init__(self, groups: Sequence[TokenGroup], width: int, *, shared: bool) -> None:
        """Allocate the weights, uninitialised.

        Raises:
            ConfigError: there is no group, or one is empty.
        """
        super().__init__()
        self.groups = check_groups(groups)
        self.tokens = sum(g.count for g in self.groups)
        self.size = sum(g.count * g.width for g in self.groups)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        keys = [(g.codec, g.width) if shared else i for i, g in enumerate(self.groups)]
        self._codec = [list(dict.fromkeys(keys)).index(key) for key in keys]  # of each group
        for i, group in enumerate(self.groups):
            if self._codec[i] == len(self.encoders):
                tokens = 1 if shared else group.count
                self.encoders.append(TokenLinear(tokens, group.width, width))
                self.decoders.append(TokenLinear(tokens, width, group.width))

    def encode(self, z_BF: Tensor) -> Tensor:
        """Return tokens ``(B, P, D)``.

        Raises:
            PromptShapeError: ``z_BF`` is not ``(B, F)``.
        """
        if z_BF.ndim != 2 or z_BF.shape[1] != self.size:
            raise PromptShapeError(f"state: expected (B, {self.size}), got {tuple(z_BF.shape)}")
        parts = z_BF.split([g.count * g.width for g in self.groups], dim=1)
        tokens = [
            self.encoders[codec](part.unflatten(1, (group.count, group.width)))
            for codec, group, part in zip(self._codec, self.groups, parts, strict=True)
        ]
        return torch.cat(tokens, dim=1)

    def decode(self, tokens_BPD: Tensor) -> Tensor:
        """Return the flat vector ``(B, F)`` of tokens ``(B, P, D)``."""
        parts = tokens_BPD.split([g.count for g in self.groups], dim=1)
        pairs = zip(self._codec, parts, strict=True)
        return torch.cat([self.decoders[codec](part).flatten(1) for codec, part in pairs], dim=1)
