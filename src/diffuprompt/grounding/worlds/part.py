"""Some rows of a set of expressions, as a set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from diffuprompt.grounding.expressions import Batch, Expression, Expressions


class Part:
    """Rows of another set, in their order; see `expressions.Expressions`."""

    def __init__(self, whole: Expressions, rows: Sequence[int]) -> None:
        self._whole, self._rows = whole, rows

    @property
    def has_masks(self) -> bool:
        """Whether `batch` has masks."""
        return self._whole.has_masks

    @property
    def content(self) -> str:
        """A hash of the whole set and the rows."""
        text = f"{self._whole.content} {list(self._rows)}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __len__(self) -> int:
        """How many expressions there are."""
        return len(self._rows)

    def __getitem__(self, row: int) -> Expression:
        """Return one of them."""
        return self._whole[self._rows[row]]

    def size(self, row: int) -> tuple[int, int]:
        """Return height and width of the row's picture as filed."""
        return self._whole.size(self._rows[row])

    def batch(self, rows: Sequence[int], side: int) -> Batch:
        """Return rows with pictures, boxes and masks resized to ``side x side``."""
        return self._whole.batch([self._rows[row] for row in rows], side)
