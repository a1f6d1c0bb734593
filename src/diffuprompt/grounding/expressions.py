"""What detectors and methods are trained and tested on: expressions about pictures.

Legend: B expression of a batch, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Span = tuple[int, int]  # first and last (exclusive) character


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Expressions with their truth.

    Attributes:
        pixels: RGB in 0..1 ``(B, 3, H, W)``.
        texts: captions.
        roots: root phrase of each.
        boxes: ``(B, 4)`` in the pixels of ``pixels``, exclusive ends.
        masks: ``(B, H, W)`` in 0..1; None where a set has none.
    """

    pixels: Tensor
    texts: tuple[str, ...]
    roots: tuple[Span, ...]
    boxes: Tensor
    masks: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Expression:
    """One expression of a set.

    Attributes:
        name: identifies it in its set, for errors and records.
        picture: identifies its picture; expressions of one picture are resampled together.
        text: the caption.
        root: its root phrase; the whole caption where nothing better is known.
        box: ``(x0, y0, x1, y1)`` in pixels of the picture as filed, exclusive ends.
        kind: how it tells its object from others: "plain", "extreme", "relation", or ""; of
            Flickr30k Entities the phrase's type.
    """

    name: str
    picture: str
    text: str
    root: Span
    box: tuple[float, float, float, float]
    kind: str = ""


class Expressions(Protocol):
    """A set of expressions about pictures."""

    @property
    def content(self) -> str:
        """A hash of pictures, expressions, boxes and masks."""

    @property
    def has_masks(self) -> bool:
        """Whether `batch` has masks."""

    def __len__(self) -> int:
        """How many expressions there are."""

    def __getitem__(self, row: int) -> Expression:
        """Return one of them."""

    def size(self, row: int) -> tuple[int, int]:
        """Return height and width of the row's picture as filed."""

    def batch(self, rows: Sequence[int], side: int) -> Batch:
        """Return rows with pictures, boxes and masks resized to ``side x side``."""
