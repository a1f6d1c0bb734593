"""Pre-training pairs for `scenes-clip`: pictures, captions and what every patch shows.

Batch ``k`` is a pure function of (seed, k), so an interrupted training goes on with the same
data. Held-out looks never appear. Half of the pictures come in themed groups that share a few
shapes, colours and fills, so that a batch holds hard negatives by construction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from diffuprompt.data import (
    COLOURS,
    FILLS,
    SHAPES,
    SIZES,
    Look,
    Scene,
    caption,
    compose,
    held_out,
    noun_phrase,
    random_look,
    with_article,
)

SIDE = 64
PATCH = 8
GROUP = 16
PORTRAITS = 0.7
TEMPLATES = ("a photo of {}.", "a picture of {}.", "an image of {}.", "{}.", "{}", "this is {}.")
_NUM_OBJECTS = (1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 6)
_COLOUR_NAMES = tuple(COLOURS)


@dataclass
class Pairs:
    """One batch: uint8 pictures ``(B, 64, 64, 3)``, captions, and words under patches.

    ``patches (B, 64, 3)`` and ``main (B, 3)``, of the object with the largest visible part, are
    indices of shape, colour and fill, each plus one; 0 is background. ``portrait (B,)`` tells which
    captions speak of the main object only.
    """

    pixels: Tensor
    texts: list[str]
    patches: Tensor
    main: Tensor
    portrait: Tensor


def _labels(made: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return `Pairs.patches` and `Pairs.main`; an object counts from a fifth of a patch on."""
    grid = SIDE // PATCH
    cover = np.stack(
        [o.mask.reshape(grid, PATCH, grid, PATCH).sum((1, 3)).reshape(-1) for o in made.objects]
    )
    looks = [
        (SHAPES.index(o.shape) + 1, _COLOUR_NAMES.index(o.colour) + 1, FILLS.index(o.fill) + 1)
        for o in made.objects
    ]
    labels = np.asarray(looks)[cover.argmax(0)]
    labels[cover.max(0) < PATCH * PATCH / 5] = 0
    return labels, np.asarray(looks[int(cover.sum(1).argmax())])


class Theme:
    """Looks to draw from: everything, or a few words that give near misses."""

    def __init__(self, rng: Random, narrow: bool) -> None:
        self._rng = rng
        self._words = (
            rng.sample(SHAPES, 3) if narrow else list(SHAPES),
            rng.sample(_COLOUR_NAMES, 3) if narrow else list(_COLOUR_NAMES),
            rng.sample(FILLS, 3) if narrow else list(FILLS),
        )

    def look(self) -> Look:
        """Draw a look that pre-training may see."""
        for _ in range(50):
            look = Look(*(self._rng.choice(words) for words in self._words))
            if not held_out(*look):
                return look
        return random_look(self._rng, pretraining=True)


def _portrait(theme: Theme, rng: Random) -> tuple[Scene, str]:
    """One object with, half of the time, a small other one that the caption leaves out."""
    looks, sizes = [theme.look()], [rng.choice(SIZES[1:])]
    if rng.random() < 0.5:
        looks, sizes = [random_look(rng, pretraining=True), *looks], ["small", *sizes]
    made = compose(looks, sizes, size=SIDE, style="clean", rng=rng)
    main = made.objects[-1]
    phrase = main.name if rng.random() < 0.6 else noun_phrase(main, rng, 0.97)
    return made, rng.choice(TEMPLATES).format(with_article(phrase))


def _crowd(theme: Theme, rng: Random) -> tuple[Scene, str]:
    looks = [theme.look() for _ in range(rng.choice(_NUM_OBJECTS))]
    sizes = [rng.choice(SIZES) for _ in looks]
    made = compose(looks, sizes, size=SIDE, style="clean", rng=rng)
    detail = rng.random() ** 0.4
    return made, caption(made, rng, 0.45 if detail < 0.5 or len(looks) > 5 else detail)


def pairs(seed: int, step: int, batch_size: int) -> Pairs:
    """Return batch ``step``."""
    rng = Random(f"scenes-clip/{seed}/{step}")
    pixels, texts, labels, portraits = [], [], [], []
    for k in range(batch_size):
        if k % GROUP == 0:
            theme = Theme(rng, narrow=(k // GROUP) % 2 == 0)
        portraits.append(rng.random() < PORTRAITS)
        made, text = (_portrait if portraits[-1] else _crowd)(theme, rng)
        pixels.append(np.asarray(made.image))
        texts.append(text)
        labels.append(_labels(made))
    patches, main = (torch.from_numpy(np.stack(x)).long() for x in zip(*labels, strict=True))
    pictures = torch.from_numpy(np.stack(pixels))
    return Pairs(pictures, texts, patches, main, torch.tensor(portraits))


class PairStream(IterableDataset[Pairs]):
    """Batches from ``first`` on, for a `DataLoader` with one worker and no collation."""

    def __init__(self, seed: int, first: int, batch_size: int) -> None:
        self._seed, self._first, self._batch_size = seed, first, batch_size

    def __iter__(self) -> Iterator[Pairs]:
        """Yield batches for ever."""
        step = self._first
        while True:
            yield pairs(self._seed, step, self._batch_size)
            step += 1


def same_text(texts: Sequence[str]) -> Tensor:
    """``(B, B)`` bool: captions that are equal, which must not repel each other."""
    codes: dict[str, int] = {}
    ids = torch.tensor([codes.setdefault(t, len(codes)) for t in texts])
    return ids[:, None] == ids[None, :]
