"""Collages: many cut-outs of photographs on a blurred one, with expressions about them.

Every picture is a pure function of (split, seed, index) and of the cut-outs; boxes and masks are
exact. Photographs of a split are drawn with replacement and are in no other split. Nothing is
mirrored.

Legend: H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from random import Random
from typing import Literal

import numpy as np
from PIL import Image

from diffuprompt.data import references
from diffuprompt.grounding.worlds.cutouts import SIDE, Cutout, Cutouts
from diffuprompt.grounding.worlds.picture import Picture, Split

OBJECTS = (4, 14)
CLASSES = 0.6  # classes a picture draws from, per object
MIN_VISIBLE = 0.7  # of an object's own area
TRIES = 40  # places of an object
ALONE = 0.75  # share of objects that hide nothing as long as there is room
LONGEST = 62  # pixels of an object's longer side
# Root of the area that an object covers. A large one that is hidden as far as it may be is still
# larger than any medium one, and so on, so that "largest" is never a close call.
SIZES = {"small": (15, 19), "medium": (23, 28), "large": (34, 40)}
OPAQUE = 128  # alpha from which a pixel is the object's

Targets = Literal["all", "base", "new"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PastedObject:
    """One object; ``mask`` ``(SIDE, SIDE)`` is its visible part, ``box`` that part's bounds."""

    name: str
    size: str
    box: tuple[int, int, int, int]
    mask: np.ndarray

    @cached_property
    def attributes(self) -> dict[str, str]:
        """What can be said of it: only its name."""
        return {"shape": self.name}

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box ``(x, y)``."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Collage:
    """A picture (RGB) and the truth about it; later objects lie above earlier ones."""

    image: Image.Image
    objects: tuple[PastedObject, ...]

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return self.image.width


@dataclass(frozen=True, kw_only=True, eq=False)
class CollageWorld:
    """Collages by number.

    Attributes:
        cutouts: of the split.
        split: splits never share a photograph.
        seed: of the sequence.
        count: expressions that a picture has at most.
        targets: which objects expressions may mean: all, or those of the first (base) or the
            second half (new) of the class names.
    """

    cutouts: Cutouts
    split: Split
    seed: int
    count: int = 0
    targets: Targets = "all"

    def __call__(self, index: int) -> Picture:
        """Return picture ``index``."""
        name = f"collages/{self.split}/{self.seed}/{index}"
        made = collage(self.cutouts, Random(name))
        names = self.cutouts.names
        half = len(names) // 2
        meant = {"all": names, "base": names[:half], "new": names[half:]}[self.targets]
        targets = [i for i, item in enumerate(made.objects) if item.name in meant]
        rng = Random(f"{name}/expressions")
        return Picture(
            name=name,
            image=made.image,
            boxes=np.array([item.box for item in made.objects], np.float32),
            masks=np.stack([item.mask for item in made.objects]),
            words=tuple((item.name,) for item in made.objects),
            references=tuple(references(made, rng, count=self.count, targets=targets)),
        )


def collage(cutouts: Cutouts, rng: Random) -> Collage:
    """Return a picture of 4 to 14 objects of fewer classes, so that names repeat."""
    wanted = rng.randint(*OBJECTS)
    classes = 1 + round(CLASSES * wanted)
    names = rng.sample(cutouts.names, min(len(cutouts.names), classes))
    choice = [item for item in cutouts.items if item.name in names]
    canvas = rng.choice(cutouts.backgrounds).astype(np.float32)
    board = _Board()
    while len(board.placed) < OBJECTS[0]:  # in vain only where a few large ones leave no room
        board = _Board()
        for _ in range(wanted):
            board.place(rng.choice(choice), rng)
    for one in board.placed:
        rows, columns = one.window
        alpha = one.rgba[..., 3:].astype(np.float32) / 255
        canvas[rows, columns] += alpha * (one.rgba[..., :3] - canvas[rows, columns])
    return Collage(image=Image.fromarray(canvas.round().astype(np.uint8)), objects=board.objects)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Placed:
    name: str
    size: str
    rgba: np.ndarray
    window: tuple[slice, slice]


class _Board:
    """What has been placed, and which of it shows at each pixel."""

    def __init__(self) -> None:
        self.placed: list[_Placed] = []
        self._owner = np.full((SIDE, SIDE), -1, np.int64)  # -1: the background
        self._areas: list[int] = []  # of each object if nothing lay above it

    @property
    def objects(self) -> tuple[PastedObject, ...]:
        """All with their visible parts."""
        masks = [self._owner == i for i in range(len(self.placed))]
        return tuple(
            PastedObject(name=one.name, size=one.size, box=_bounds(mask), mask=mask)
            for one, mask in zip(self.placed, masks, strict=True)
        )

    def place(self, cutout: Cutout, rng: Random) -> None:
        """Put a cut-out where all stay visible enough, smaller where there is no room; or not."""
        sizes = list(SIZES)
        for size in sizes[rng.randrange(len(sizes)) :: -1]:
            rgba = _scaled(cutout.rgba, rng.uniform(*SIZES[size]))
            solid = rgba[..., 3] >= OPAQUE
            window = self._window(solid, rng) if max(solid.shape) <= LONGEST else None
            if window is not None:
                self._owner[window][solid] = len(self.placed)
                self._areas.append(int(np.count_nonzero(solid)))
                self.placed.append(_Placed(name=cutout.name, size=size, rgba=rgba, window=window))
                return

    def _window(self, solid: np.ndarray, rng: Random) -> tuple[slice, slice] | None:
        """Find a place; prefer no overlap at all."""
        height, width = solid.shape
        areas = np.array(self._areas)
        seen = self._counts(self._owner)
        strict = rng.random() < ALONE
        for attempt in range(TRIES):
            y, x = rng.randint(0, SIDE - height), rng.randint(0, SIDE - width)
            window = (slice(y, y + height), slice(x, x + width))
            hidden = self._counts(self._owner[window][solid])
            least = 1.0 if strict and attempt < 2 * TRIES // 3 else MIN_VISIBLE
            if np.all((seen - hidden >= least * areas) | (hidden == 0)):
                return window
        return None

    def _counts(self, owner: np.ndarray) -> np.ndarray:
        """Return how many of these pixels show each object."""
        return np.bincount(owner.ravel() + 1, minlength=len(self.placed) + 1)[1:]


def _scaled(rgba: np.ndarray, root: float) -> np.ndarray:
    """Return a cut-out that covers about ``root`` squared pixels."""
    height, width = rgba.shape[:2]
    factor = root / sqrt(np.count_nonzero(rgba[..., 3] >= OPAQUE))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    # premultiplied, so that what is transparent does not bleed into the edge
    image = Image.fromarray(rgba).convert("RGBa").resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image.convert("RGBA"))


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
