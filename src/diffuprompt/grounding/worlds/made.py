"""Expressions about made pictures, kept in memory: the training and test sets of made worlds.

Legend: B expression of a batch, E expression, P picture, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.errors import CheckpointError
from diffuprompt.grounding.expressions import Batch, Expression


class MadeExpressions:
    """Expressions about square pictures of one size, with exact masks.

    Attributes:
        has_masks: always.
    """

    has_masks = True

    def __init__(
        self,
        *,
        pixels_PHW3: Tensor,
        pictures_E: Tensor,
        masks_EF: Tensor,
        expressions: Sequence[Expression],
    ) -> None:
        """Keep them.

        Args:
            pixels_PHW3: RGB, uint8.
            pictures_E: index of each expression's picture.
            masks_EF: visible part of each expression's object, eight pixels a byte.
            expressions: with boxes in pixels of the pictures.
        """
        self._pixels, self._pictures, self._masks = pixels_PHW3, pictures_E, masks_EF
        self._expressions = tuple(expressions)

    def __len__(self) -> int:
        """How many expressions there are."""
        return len(self._expressions)

    def __getitem__(self, row: int) -> Expression:
        """Return one of them."""
        return self._expressions[row]

    def size(self, row: int) -> tuple[int, int]:
        """Return height and width of the row's picture, which all pictures have."""
        return self._pixels.shape[1], self._pixels.shape[2]

    @cached_property
    def content(self) -> str:
        """Sixteen hex digits over pictures, expressions, boxes and masks."""
        tensors, texts = self.to_tensors()
        digest = hashlib.sha256(json.dumps(texts).encode())
        for name in sorted(tensors):
            digest.update(name.encode())
            digest.update(tensors[name].numpy().tobytes())
        return digest.hexdigest()[:16]

    def batch(self, rows: Sequence[int], side: int) -> Batch:
        """Return rows with pictures, boxes and masks resized to ``side x side``."""
        index = torch.as_tensor(rows, dtype=torch.long)
        height, width = self._pixels.shape[1:3]
        pixels = self._pixels[self._pictures[index]].permute(0, 3, 1, 2).float() / 255
        bits = np.unpackbits(self._masks[index].numpy(), axis=1, count=height * width)
        masks = torch.from_numpy(bits).float().view(-1, 1, height, width)
        chosen = [self._expressions[row] for row in rows]
        boxes = torch.tensor([one.box for one in chosen]).view(-1, 4)
        return Batch(
            pixels=_resized(pixels, side),
            texts=tuple(one.text for one in chosen),
            roots=tuple(one.root for one in chosen),
            boxes=boxes * boxes.new_tensor([side / width, side / height] * 2),
            masks=_resized(masks, side)[:, 0],
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """Return all of it as tensors and as what JSON can hold."""
        tensors = {"pixels": self._pixels, "pictures": self._pictures, "masks": self._masks}
        return tensors, [asdict(one) for one in self._expressions]

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], texts: Sequence[Mapping[str, Any]]
    ) -> MadeExpressions:
        """Inverse of `to_tensors`; also takes what a JSON file gives back.

        Raises:
            CheckpointError: it is not what `to_tensors` returns.
        """
        try:
            expressions = [
                Expression(**{**one, "root": tuple(one["root"]), "box": tuple(one["box"])})
                for one in texts
            ]
            pixels, pictures, masks = (tensors[k] for k in ("pixels", "pictures", "masks"))
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"not the expressions of a made world ({error})") from error
        if not len(expressions) == len(pictures) == len(masks):
            raise CheckpointError(
                f"expected as many expressions as masks, got {len(expressions)} and {len(masks)}"
            )
        return cls(pixels_PHW3=pixels, pictures_E=pictures, masks_EF=masks, expressions=expressions)


def _resized(maps_BCHW: Tensor, side: int) -> Tensor:
    if maps_BCHW.shape[-2:] == (side, side):
        return maps_BCHW
    resized = functional.interpolate(maps_BCHW, (side, side), mode="bilinear", antialias=True)
    return resized.clamp(0, 1)
