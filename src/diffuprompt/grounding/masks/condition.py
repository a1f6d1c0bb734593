"""What the prompt generator is told about a picture and its caption, cached for whole sets.

Legend: B expression, M channels of maps, S text token, D text width, L level of the pyramid, E
width of pooled features; h, w rows and columns of the latent grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.errors import DataError
from diffuprompt.grounding.contract import Context, Span

Kind = TypeVar("Kind", bound="Condition")
LOGIT = 10.0  # beyond it a word's probability is 0 or 1; half precision needs a bound, too
LOGIT_UNIT = 4.0  # raw logits are divided by it to be about as large as features


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """Tensors with one row per expression."""

    def rows(self, index: Tensor) -> Self:
        """Return the expressions at ``index`` ``(n,)``."""
        return self._each(lambda value: value[index])

    def to(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Self:
        """Return it elsewhere; ``dtype`` is of numbers, not of masks."""
        return self._each(
            lambda value: value.to(
                device=device, dtype=dtype if value.is_floating_point() else None
            )
        )

    def __len__(self) -> int:
        """How many expressions there are."""
        return len(next(iter(self.tensors().values())))

    def widths(self) -> dict[str, int]:
        """Return the sizes that a generator is built for; `Condition` has none."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields by name, for files; the inverse is the class itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _each(self, change: Any) -> Self:
        return replace(self, **{name: change(value) for name, value in self.tensors().items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class PooledCondition(Condition):
    """The paper's: one vector for the picture, one for the caption.

    Attributes:
        image: CLIP's image features ``(B, E)``, as projected, not normalised.
        text: CLIP's text features ``(B, E)``, likewise.
    """

    image: Tensor
    text: Tensor

    def widths(self) -> dict[str, int]:
        """Return E as "pooled"."""
        return {"pooled": self.image.shape[1]}


@dataclass(frozen=True, kw_only=True, eq=False)
class TokensCondition(Condition):
    """What the frozen detector sees at every cell of the latent grid.

    Attributes:
        maps: ``(B, M, h, w)``, the pyramid and summaries of the alignment, see `tokens_condition`.
        alignment: ``(B, L, S, h, w)``, the probability of each word at each level.
        words: text features ``(B, S, D)``.
        mask: ``(B, S)``, True for tokens.
        roots: ``(B, S)``, True for tokens of the root phrase.
    """

    maps: Tensor
    alignment: Tensor
    words: Tensor
    mask: Tensor
    roots: Tensor

    def widths(self) -> dict[str, int]:
        """Return M as "maps", L as "levels" and D as "words"."""
        return {
            "maps": self.maps.shape[1],
            "levels": self.alignment.shape[1],
            "words": self.words.shape[2],
        }


@torch.no_grad()
def tokens_condition(
    context: Context, roots: Sequence[Span], grid: tuple[int, int]
) -> TokensCondition:
    """Return the condition of expressions from what the detector knows; nothing is learned.

    Levels are averaged to coarser grids and interpolated to finer ones. The alignment with the
    root's tokens and with all tokens is summarised by maximum and mean, as logits and as
    probabilities, at each level; where a level is finer by a whole factor, all its cells are kept
    as channels.

    Args:
        context: of a batch of pictures and captions.
        roots: root phrase of each caption.
        grid: rows and columns of the latent map.

    Raises:
        DataError: there is not one root per caption, or a root holds no word.
    """
    tokens = context.tokens
    if len(roots) != len(tokens.ids):
        raise DataError(f"roots: expected {len(tokens.ids)}, one per caption, got {len(roots)}")
    mask_BS = tokens.mask
    roots_BS = torch.zeros_like(mask_BS)
    for i, root in enumerate(roots):
        roots_BS[i, tokens.of_span(i, root)] = True
    maps = [resized(level.float(), grid) for level in context.levels]
    aligned = []
    for scores_BHWS in context.alignment:
        logits_BSHW = scores_BHWS.float().permute(0, 3, 1, 2).clamp(-LOGIT, LOGIT)
        for chosen in (roots_BS, mask_BS):
            maps.append(folded(_summary(logits_BSHW, chosen), grid))
        aligned.append(resized(logits_BSHW.sigmoid() * mask_BS[..., None, None], grid))
    return TokensCondition(
        maps=torch.cat(maps, 1),
        alignment=torch.stack(aligned, 1),
        words=context.language.float() * mask_BS[..., None],
        mask=mask_BS,
        roots=roots_BS,
    )


def pooled_condition(image_features: Tensor, text_features: Tensor) -> PooledCondition:
    """Return the paper's condition of features ``(B, E)``.

    Raises:
        DataError: their shapes differ.
    """
    if image_features.shape != text_features.shape or image_features.ndim != 2:
        raise DataError(
            f"features: expected two of the same (B, E), got {tuple(image_features.shape)} and "
            f"{tuple(text_features.shape)}"
        )
    return PooledCondition(image=image_features, text=text_features)


def joined(parts: Sequence[Kind]) -> Kind:
    """Return the expressions of all parts, one after another, padded to the longest caption.

    Raises:
        DataError: there are no parts.
    """
    if not parts:
        raise DataError("condition: there is nothing to join")
    tokens = [part for part in parts if isinstance(part, TokensCondition)]
    longest = max((part.mask.shape[1] for part in tokens), default=0)
    padded = [_padded(part, longest - part.mask.shape[1]) for part in tokens] or parts
    every = [part.tensors() for part in padded]
    return type(parts[0])(**{name: torch.cat([p[name] for p in every]) for name in every[0]})


def resized(maps_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return maps on another grid: averages where it is coarser, else interpolated."""
    if maps_BCHW.shape[2] >= grid[0] and maps_BCHW.shape[3] >= grid[1]:
        return functional.adaptive_avg_pool2d(maps_BCHW, grid)
    return functional.interpolate(maps_BCHW, grid, mode="bilinear", align_corners=False)


def folded(maps_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return maps on a grid, the cells of one that is finer by a whole factor as channels."""
    factor = maps_BCHW.shape[2] // grid[0]
    if factor > 1 and tuple(maps_BCHW.shape[2:]) == (factor * grid[0], factor * grid[1]):
        return functional.pixel_unshuffle(maps_BCHW, factor)
    return resized(maps_BCHW, grid)


def _summary(logits_BSHW: Tensor, chosen_BS: Tensor) -> Tensor:
    """Return ``(B, 4, H, W)``: maximum and mean over tokens, of logits and of probabilities."""
    chosen = chosen_BS[..., None, None]
    count = chosen_BS.sum(1).clamp(min=1)[:, None, None]
    found = []
    for values, unit in ((logits_BSHW, LOGIT_UNIT), (logits_BSHW.sigmoid(), 1.0)):
        found.append(values.masked_fill(~chosen, -LOGIT).amax(1) / unit)
        found.append((values * chosen).sum(1) / count / unit)
    return torch.stack(found, 1)


def _padded(part: TokensCondition, more: int) -> TokensCondition:
    return replace(
        part,
        alignment=functional.pad(part.alignment, (0, 0, 0, 0, 0, more)),
        words=functional.pad(part.words, (0, 0, 0, more)),
        mask=functional.pad(part.mask, (0, more)),
        roots=functional.pad(part.roots, (0, more)),
    )
