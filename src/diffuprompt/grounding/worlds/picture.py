"""A picture and the exact truth about its objects, as every made world returns it.

Legend: N objects, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from diffuprompt.data import Reference

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture and the truth about its objects.

    Attributes:
        name: what identifies it, for errors and for resampling.
        image: RGB.
        boxes: ``(N, 4)`` float32, exclusive ends.
        masks: ``(N, H, W)`` bool, the visible part of each object.
        words: what can be said of each object without looking at the others, from one word to all.
        references: expressions about different objects, as many as were asked for and found.
    """

    name: str
    image: Image.Image
    boxes: np.ndarray
    masks: np.ndarray
    words: tuple[tuple[str, ...], ...]
    references: tuple[Reference, ...] = ()


World = Callable[[int], Picture]
"""The pictures of a world by their number; number i is the same bytes every time."""
