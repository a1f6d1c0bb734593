"""Annotations become expressions, or all that is wrong with them one refusal.

Readers know layouts; what a good picture, box, mask, caption or root phrase is stands here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from diffuprompt.errors import DataError
from diffuprompt.grounding.expressions import Expression, Span
from diffuprompt.grounding.worlds.filed import FiledExpression, FiledExpressions
from diffuprompt.grounding.worlds.pictures import PictureFile, PictureFiles
from diffuprompt.grounding.worlds.problems import Problems, shown
from diffuprompt.grounding.worlds.roots import RootFinder
from diffuprompt.grounding.worlds.segmentation import SLACK, Segmentation, parse_segmentation

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels, exclusive ends
Checked = TypeVar("Checked")


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What an expression means: a box in a picture, and its mask where there is one."""

    picture: PictureFile
    box: Box
    segmentation: Segmentation | None


class Collector:
    """Gathers the expressions of one source, and all that is wrong with it.

    Args:
        source: file or folder of annotations, for messages.
        pictures: folders; pictures are in the first one that has any.
        roots: finds root phrases where annotations have none; see `roots`.
    """

    def __init__(self, source: Path, pictures: Sequence[Path], *, roots: RootFinder) -> None:
        self._source, self._roots = source, roots
        self.problems = Problems(source)
        self.pictures = PictureFiles(pictures, self.problems)
        self._rows: list[FiledExpression] = []

    def target(
        self,
        where: str,
        picture: PictureFile | None,
        box: Box | None,
        segmentation: object = None,
    ) -> Target | None:
        """Return what an expression means; None, and problems, if it is no good.

        Args:
            where: the annotation, for messages.
            picture: None when it was refused already.
            box: None when it was refused already.
            segmentation: as COCO has it, None if there is no mask.
        """
        if picture is None:
            return None
        height, width = picture.height, picture.width
        inside, mask = None, None
        if box is not None:
            inside = self._checked(where, lambda: _inside(box, height, width))
        if segmentation is not None:
            mask = self._checked(where, lambda: parse_segmentation(segmentation, height, width))
        if inside is None or (mask is None and segmentation is not None):
            return None
        return Target(picture=picture, box=inside, segmentation=mask)

    def add(
        self,
        where: str,
        name: str,
        target: Target | None,
        caption: object,
        *,
        root: object = None,
        kind: str = "",
    ) -> None:
        """Add one expression, or note what is wrong with it.

        Args:
            where: the annotation, for messages.
            name: of the expression, unique in its set.
            target: what it means; None when that was refused already.
            caption: its text.
            root: its root phrase, as a part of the caption or as two characters' places; None
                where it is to be found.
            kind: see `contract.Expression`.
        """
        told = self._checked(where, lambda: self._told(caption, root))
        if told is None or target is None:
            return
        expression = Expression(
            name=name,
            picture=target.picture.name,
            text=told[0],
            root=told[1],
            box=target.box,
            kind=kind,
        )
        row = FiledExpression(
            expression=expression, picture=target.picture, segmentation=target.segmentation
        )
        self._rows.append(row)

    def xywh(self, where: str, value: object) -> Box | None:
        """Return COCO's ``[x, y, width, height]``; None, and a problem, if it is no good."""
        return self._checked(where, lambda: _corners(value))

    def finish(self) -> FiledExpressions:
        """Return the expressions.

        Raises:
            DataError: anything was wrong, or there are none.
        """
        self.problems.refuse()
        if not self._rows:
            raise DataError(f"{self._source}: no expressions of this split")
        try:
            return FiledExpressions(self._rows)
        except DataError as cause:
            raise DataError(f"{self._source}: {cause}") from cause

    def _checked(self, where: str, check: Callable[[], Checked]) -> Checked | None:
        try:
            return check()
        except DataError as cause:
            self.problems.add(where, str(cause))
            return None

    def _told(self, caption: object, root: object) -> tuple[str, Span]:
        """Return the caption and its root phrase."""
        if not isinstance(caption, str):
            raise DataError(f"caption {shown(caption)}; expected a text")
        if any("\ud800" <= char <= "\udfff" for char in caption):
            raise DataError(f"caption {shown(caption)} is no valid Unicode")
        if not _says_something(caption):
            raise DataError(f"caption {shown(caption)} is empty: it has no letter or digit")
        return caption, self._roots(caption) if root is None else _span(caption, root)


def _span(caption: str, root: object) -> Span:
    """Return where a root phrase stands that an annotation gives."""
    start = end = -1
    if isinstance(root, str):
        whole = re.search(rf"(?<!\w){re.escape(root)}(?!\w)", caption)  # "cup", no "cupboard"
        start = whole.start() if whole else caption.find(root)
        end = start + len(root)
    elif isinstance(root, list | tuple) and len(root) == 2:
        if all(type(place) is int for place in root):
            start, end = root
    if 0 <= start < end <= len(caption) and _says_something(caption[start:end]):
        return (start, end)
    raise DataError(
        f"root {shown(root)} of caption {shown(caption)}; expected a part of it with a letter or "
        "digit, or the places of its first and last (exclusive) character"
    )


def _says_something(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _corners(value: object) -> Box:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise DataError(f"bbox {shown(value)}; expected four numbers [x, y, width, height]")
    x, y, width, height = map(float, value)
    return (x, y, x + width, y + height)


def _is_number(value: object) -> bool:
    """Whether a value is a number, and one that may count pixels."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < 2**31


def _inside(box: Box, height: int, width: int) -> Box:
    """Return the part of a box inside the picture; it may leave it by rounding."""
    x0, y0, x1, y1 = box
    told = f"box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g})"
    if x1 <= x0 or y1 <= y0:
        raise DataError(f"{told} is empty")
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    moved = max(abs(new - old) for new, old in zip((x0, y0, x1, y1), box, strict=True))
    if moved > SLACK or x1 <= x0 or y1 <= y0:
        raise DataError(f"{told} lies outside the picture of {width} x {height} pixels")
    return (x0, y0, x1, y1)
