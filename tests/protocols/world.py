"""A world small enough to run whole jobs in seconds: a random CLIP and pictures of six colours."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.clip import tiny

from diffuprompt.clip.config import ClipConfig, TextConfig, VisionConfig
from diffuprompt.clip.hf import save_hf
from diffuprompt.clip.model import Clip
from diffuprompt.data.transforms import Preprocess

SIDE = 32
COLOURS = {
    "black": (10, 10, 10),
    "blue_sky": (40, 60, 220),
    "green": (30, 200, 40),
    "red": (220, 30, 30),
    "white": (240, 240, 240),
    "yellow": (230, 220, 20),
}
CLASSES = tuple(COLOURS)
IMAGES = 6  # a class


def make_clip(folder: Path, *, scale: float = 20.0, seed: int = 0) -> Path:
    """Save a random CLIP of two layers a tower; ``scale`` below 50 chooses the lite recipes."""
    tokenizer = tiny.tokenizer()
    text = TextConfig(
        width=32,
        layers=2,
        heads=2,
        mlp_width=64,
        vocab_size=tokenizer.vocab_size,
        context_length=40,
        sot=tokenizer.sot,
        eot=tokenizer.eot,
        pad=tokenizer.pad,
    )
    vision = VisionConfig(width=32, layers=2, heads=2, mlp_width=64, image_size=SIDE, patch_size=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = ClipConfig(text=text, vision=vision, embed_dim=24)
        clip = Clip(config, tokenizer, Preprocess.for_size(SIDE))
    with torch.no_grad():
        clip.logit_scale.fill_(math.log(scale))
    save_hf(clip, folder)
    return folder


def make_pictures(
    folder: Path, classes: tuple[str, ...] = CLASSES, *, splits: tuple[str, ...] = (), seed: int = 0
) -> Path:
    """Write ``IMAGES`` noisy pictures of one colour a class, in a folder a class.

    With ``splits`` there is such a set of folders in each of them.
    """
    rng = np.random.default_rng(seed)
    for split in splits or ("",):
        for name in classes:
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(IMAGES):
                noise = rng.normal(0, 40, (SIDE, SIDE + 8, 3))
                pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return folder


def shuffled_colours(seed: int) -> list[str]:
    """Return the class names in a random order."""
    names = list(CLASSES)
    random.Random(seed).shuffle(names)
    return names
