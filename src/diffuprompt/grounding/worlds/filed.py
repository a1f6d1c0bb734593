"""Expressions about picture files.

Legend: B expression of a batch, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffuprompt.data import load_image
from diffuprompt.errors import DataError
from diffuprompt.grounding.expressions import Batch, Expression
from diffuprompt.grounding.worlds.pictures import PictureFile
from diffuprompt.grounding.worlds.segmentation import Segmentation


@dataclass(frozen=True, kw_only=True, eq=False)
class FiledExpression:
    """An expression, its picture, and the mask of its object where there is one."""

    expression: Expression
    picture: PictureFile
    segmentation: Segmentation | None = None


class FiledExpressions:
    """Expressions about picture files, which are decoded when they are asked for.

    See `expressions.Expressions`. Pictures and masks are resized to a square whatever their shape,
    with bilinear weights; masks become soft at their edges, as Diff-Prompt's are.

    Args:
        rows: in order; all have a mask, or none has.

    Raises:
        DataError: some have a mask and some have none.
    """

    def __init__(self, rows: Sequence[FiledExpression]) -> None:
        self.rows = tuple(rows)
        without = [row.expression.name for row in self.rows if row.segmentation is None]
        self.has_masks = bool(self.rows) and not without
        if 0 < len(without) < len(self.rows):
            shown = ", ".join(without[:12])
            raise DataError(
                f"{len(without)} of {len(self.rows)} annotations have no segmentation: {shown}; "
                "give each of them one, or remove all"
            )

    @cached_property
    def content(self) -> str:
        """A hash of pictures' bytes, expressions, boxes and masks, in their order."""
        digest = hashlib.sha256()
        pictures: dict[Path, str] = {}
        for row in self.rows:
            path = row.picture.path
            if path not in pictures:
                pictures[path] = _file_hash(path)
            said, shape = row.expression, row.segmentation
            fields = [said.name, said.picture, said.text, said.root, said.box, said.kind]
            mask = [] if shape is None else [type(shape).__name__, shape.content().hex()]
            digest.update(json.dumps([fields, mask, pictures[path]]).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        """How many expressions there are."""
        return len(self.rows)

    def __getitem__(self, row: int) -> Expression:
        """Return one of them."""
        return self.rows[row].expression

    def size(self, row: int) -> tuple[int, int]:
        """Return height and width of the row's picture as filed."""
        picture = self.rows[row].picture
        return (picture.height, picture.width)

    def batch(self, rows: Sequence[int], side: int) -> Batch:
        """Return rows with pictures, boxes and masks resized to ``side x side``.

        Raises:
            DataError: a picture cannot be decoded.
        """
        chosen = [self.rows[row] for row in rows]
        pictures = {row.picture.path: row.picture for row in chosen}
        pixels = {path: _pixels(picture, side) for path, picture in pictures.items()}
        scales = [_scale(row.picture, side) for row in chosen]
        boxes = torch.tensor([row.expression.box for row in chosen])
        return Batch(
            pixels=torch.stack([pixels[row.picture.path] for row in chosen]),
            texts=tuple(row.expression.text for row in chosen),
            roots=tuple(row.expression.root for row in chosen),
            boxes=boxes * torch.tensor(scales),
            masks=torch.stack([_mask(row, side) for row in chosen]) if self.has_masks else None,
        )


def _scale(picture: PictureFile, side: int) -> tuple[float, float, float, float]:
    x, y = side / picture.width, side / picture.height
    return (x, y, x, y)


def _pixels(picture: PictureFile, side: int) -> Tensor:
    """Return a picture ``(3, side, side)`` in 0..1."""
    image = load_image(picture.path)
    if image.size != (picture.width, picture.height):
        raise DataError(
            f"{picture.path}: {image.width} x {image.height} pixels, and it had {picture.width} x "
            f"{picture.height} when the annotations were read; it was changed meanwhile"
        )
    resized = image.resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255


def _mask(row: FiledExpression, side: int) -> Tensor:
    """Return the mask of a row that has one, ``(side, side)`` in 0..1."""
    assert row.segmentation is not None
    mask = row.segmentation.mask(row.picture.height, row.picture.width)
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    resized = image.resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)) / 255


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise DataError(f"{path}: cannot be read ({cause.strerror}); restore it") from cause
