"""Random training views by name."""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image
from torch import Tensor

from diffuprompt.data.randaugment import randaugment
from diffuprompt.data.transforms import Preprocess
from diffuprompt.errors import ConfigError, near_miss

Augment = Callable[[Preprocess, Image.Image, random.Random], Tensor]
LARGE_CROP = (0.5, 1.0)


def _crop(preprocess: Preprocess, image: Image.Image, rng: random.Random) -> Tensor:
    return preprocess.train_view(image, rng)


def _large_crop(preprocess: Preprocess, image: Image.Image, rng: random.Random) -> Tensor:
    return preprocess.train_view(image, rng, LARGE_CROP)


def _randaugment(preprocess: Preprocess, image: Image.Image, rng: random.Random) -> Tensor:
    return preprocess.squashed_view(image, lambda squashed: randaugment(squashed, rng))


AUGMENTS: dict[str, Augment] = {
    "crop": _crop,  # CoOp and its descendants
    "large-crop": _large_crop,  # Tip-Adapter
    "randaugment": _randaugment,  # CoPrompt
}


def get_augment(name: str) -> Augment:
    """Return how a random view is made; raises `ConfigError` for an unknown name."""
    if name not in AUGMENTS:
        hint = near_miss(name, list(AUGMENTS))
        raise ConfigError(f"train.augment: expected one of {list(AUGMENTS)}, got {name!r}.{hint}")
    return AUGMENTS[name]
