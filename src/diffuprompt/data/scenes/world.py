"""Scenes: one to six objects on a background, a pure function of (stream, seed, index)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
from PIL import Image

from diffuprompt.data.scenes.attributes import (
    COLOURS,
    FILLS,
    SHAPES,
    SIZES,
    STYLES,
    Look,
    Style,
    check,
    check_look,
    held_out,
)
from diffuprompt.data.scenes.backgrounds import Background, choose_background, paint_background
from diffuprompt.data.scenes.render import OVERSAMPLE, Sprite, jittered, make_sprite, paint
from diffuprompt.data.scenes.styles import apply_style
from diffuprompt.errors import ConfigError

MAX_OBJECTS = 6
MIN_VISIBLE = 0.6
# Radius as a share of the picture; the bands do not touch, so "largest" is never a close call.
_RADIUS = {"small": (0.105, 0.125), "medium": (0.155, 0.185), "large": (0.22, 0.27)}
_COLOUR_NAMES = tuple(COLOURS)


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneObject:
    """One object; ``mask`` is its visible part ``(size, size)`` bool, ``box`` that part's bounds.

    The box is ``(x0, y0, x1, y1)`` in pixels, ``x1`` and ``y1`` exclusive.
    """

    name: str
    shape: str
    colour: str
    fill: str
    size: str
    box: tuple[int, int, int, int]
    mask: np.ndarray

    @cached_property
    def attributes(self) -> dict[str, str]:
        """What can be said of it without looking at the others."""
        return {"shape": self.shape, "colour": self.colour, "fill": self.fill, "size": self.size}

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box ``(x, y)``."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A picture (RGB) and the truth about it; later objects lie above earlier ones."""

    image: Image.Image
    objects: tuple[SceneObject, ...]
    background: Background
    style: Style

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return self.image.width


@dataclass
class _Placed:
    look: Look
    size: str
    sprite: Sprite
    x: int
    y: int
    mask: np.ndarray
    area: int


@dataclass(frozen=True)
class _How:
    swap: bool  # black for white and white for black
    max_turn: float


def random_look(rng: Random, *, pretraining: bool = False) -> Look:
    """Draw a look; with ``pretraining`` one that is not held out."""
    while True:
        look = Look(rng.choice(SHAPES), rng.choice(_COLOUR_NAMES), rng.choice(FILLS))
        if not (pretraining and held_out(*look)):
            return look


def _put(sprite: Sprite, x: int, y: int, side: int) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[y : y + sprite.height, x : x + sprite.width] = sprite.small
    return mask


def _place(placed: list[_Placed], new: _Placed, side: int, rng: Random) -> bool:
    """Find a place where all keep `MIN_VISIBLE` of their area; prefer no overlap at all."""
    strict = rng.random() < 0.75
    for attempt in range(24):
        new.x = rng.randint(0, side - new.sprite.width)
        new.y = rng.randint(0, side - new.sprite.height)
        new.mask = _put(new.sprite, new.x, new.y, side)
        share = 1.0 if strict and attempt < 16 else MIN_VISIBLE
        free = ~new.mask
        visible = [p.mask & free for p in placed]
        counts = [np.count_nonzero(v) for v in visible]
        if all(n >= share * p.area for n, p in zip(counts, placed, strict=True)):
            for p, v in zip(placed, visible, strict=True):
                p.mask = v
            placed.append(new)
            return True
    return False


def _draft(look: Look, size: str, side: int, rng: Random, how: _How) -> _Placed:
    radius = side * rng.uniform(*_RADIUS[size])
    sprite = make_sprite(look, radius, rng, jittered(look.colour, rng, how.swap), how.max_turn)
    return _Placed(look, size, sprite, 0, 0, sprite.small, int(sprite.small.sum()))


def _grid(looks: Sequence[Look], side: int, rng: Random, how: _How) -> list[_Placed]:
    """Small objects in the cells of a 3 x 3 grid: always possible, never overlapping."""
    cells = rng.sample(range(9), len(looks))
    placed = []
    for look, cell in zip(looks, cells, strict=True):
        new = _draft(look, "small", side, rng, how)
        x = round((cell % 3 + 0.5) * side / 3 - new.sprite.width / 2)
        y = round((cell // 3 + 0.5) * side / 3 - new.sprite.height / 2)
        new.x = min(max(0, x), side - new.sprite.width)
        new.y = min(max(0, y), side - new.sprite.height)
        new.mask = _put(new.sprite, new.x, new.y, side)
        placed.append(new)
    return placed


def _arrange(
    looks: Sequence[Look], sizes: Sequence[str], side: int, rng: Random, how: _How
) -> list[_Placed]:
    placed: list[_Placed] = []
    for look, size in zip(looks, sizes, strict=True):
        for smaller in SIZES[SIZES.index(size) :: -1]:
            if _place(placed, _draft(look, smaller, side, rng, how), side, rng):
                break
        else:
            return _grid(looks, side, rng, how)
    return placed


def compose(
    looks: Sequence[Look],
    sizes: Sequence[str],
    *,
    size: int,
    style: Style,
    rng: Random,
    max_turn: float = 0.2,
) -> Scene:
    """Arrange and paint objects of the given looks.

    ``sizes`` are wishes: an object that finds no place is made smaller. Objects are turned by up to
    ``max_turn`` radians. All randomness comes from ``rng``. Raises `ConfigError` for unknown words,
    no or too many objects, or ``size`` below 32.
    """
    check("style", style, STYLES)
    for look, name in zip(looks, sizes, strict=True):
        check_look(look)
        check("size", name, SIZES)
    if not 1 <= len(looks) <= MAX_OBJECTS:
        raise ConfigError(f"a scene holds 1 to {MAX_OBJECTS} objects, got {len(looks)}")
    if size < 32:
        raise ConfigError(f"a scene needs at least 32 pixels a side, got {size}")
    how = _How(swap=style == "inverted", max_turn=max_turn)
    placed = _arrange(looks, sizes, size, rng, how)
    background = choose_background(rng, [COLOURS[p.look.colour] for p in placed])
    behind = paint_background(background, size * OVERSAMPLE, rng)
    canvas = behind.copy()
    for p in placed:
        paint(canvas, behind, p.sprite, p.x, p.y)
    image = Image.fromarray(canvas).reduce(OVERSAMPLE)
    objects = tuple(_finish(p) for p in placed)
    image = apply_style(image, style, rng)
    return Scene(image=image, objects=objects, background=background, style=style)


def _finish(p: _Placed) -> SceneObject:
    rows, columns = np.flatnonzero(p.mask.any(1)), np.flatnonzero(p.mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return SceneObject(name=p.look.name, **p.look._asdict(), size=p.size, box=box, mask=p.mask)


def scene(
    seed: int,
    index: int,
    *,
    size: int = 64,
    num_objects: int | None = None,
    style: Style = "clean",
    pretraining: bool = False,
    stream: str = "world",
) -> Scene:
    """Return scene ``index`` of the world ``seed``: the same bytes every time.

    ``num_objects`` None draws 1 to 6; ``pretraining`` leaves the held-out combinations out;
    ``stream`` names independent sequences, so that tests never repeat training pictures. Raises
    `ConfigError` for a wrong size, style or number of objects.
    """
    rng = Random(f"scenes/{stream}/{seed}/{index}")
    count = rng.randint(1, MAX_OBJECTS) if num_objects is None else num_objects
    looks = [random_look(rng, pretraining=pretraining) for _ in range(count)]
    sizes = [rng.choice(SIZES) for _ in looks]
    return compose(looks, sizes, size=size, style=style, rng=rng)


def single(
    look: Look,
    seed: int,
    index: int,
    *,
    size: int = 64,
    style: Style = "clean",
    distractors: int = 0,
    max_turn: float = 0.2,
    stream: str = "single",
) -> Scene:
    """Return a picture of one object of this look, for classification.

    The object is ``objects[-1]``, medium or large and never covered; before it come small
    ``distractors`` of other shapes and colours. Raises `ConfigError` as `compose` does.
    """
    check_look(look)
    rng = Random(f"scenes/{stream}/{seed}/{index}/{'/'.join(look)}")
    looks, sizes = [look], [rng.choice(SIZES[1:])]
    while len(looks) <= distractors:
        other = random_look(rng)
        if other.shape != look.shape and other.colour != look.colour:
            looks, sizes = [other, *looks], ["small", *sizes]
    return compose(looks, sizes, size=size, style=style, rng=rng, max_turn=max_turn)
