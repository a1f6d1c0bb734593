"""A poor camera: what separates the pictures of the data set `scenes` from pre-training.

Warm light, low contrast, blur and grain. The shift is the same kind for every class, so a few
labelled pictures say much about the rest; that is what makes few-shot learning worth its while.
"""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image, ImageFilter


def snapshot(image: Image.Image, rng: Random) -> Image.Image:
    """Return ``image`` (RGB) as a poor camera sees it; all randomness comes from ``rng``."""
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    pixels = np.asarray(blurred, np.float32)
    warmth = rng.uniform(0.4, 1.0)
    light = np.array([1 + 0.1 * warmth, 1.0, 1 - 0.25 * warmth], np.float32)
    contrast, level = rng.uniform(0.55, 0.9), rng.uniform(-20, 20)
    pixels = (pixels * light - 128) * contrast + 128 + level
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(pixels.shape, np.float32)
    return Image.fromarray(np.clip(pixels + rng.uniform(4, 12) * noise, 0, 255).astype(np.uint8))
