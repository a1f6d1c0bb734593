"""A poor camera: what separates the pictures of the data set `scenes` from pre-training.

Warm light, low contrast, blur and grain. The shift is the same kind for every class, so a few
labelled pictures say much about the rest; that is what makes few-shot learning worth its while.
"""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image, ImageFilter

_WARM = np.array([0.18, -0.08, -0.5], np.float32)  # what lamp light adds to red, green and blue


def snapshot(image: Image.Image, rng: Random) -> Image.Image:
    """Return ``image`` (RGB) as a poor camera sees it; all randomness comes from ``rng``."""
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.5)))
    pixels: np.ndarray = np.asarray(blurred, np.float32)
    light = 1 + rng.uniform(0.7, 1.0) * _WARM
    contrast, level = rng.uniform(0.45, 0.7), rng.uniform(0, 20)
    pixels = (pixels * light - 128) * contrast + 128 + level
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(pixels.shape, np.float32)
    return Image.fromarray(np.clip(pixels + rng.uniform(3, 8) * noise, 0, 255).astype(np.uint8))
