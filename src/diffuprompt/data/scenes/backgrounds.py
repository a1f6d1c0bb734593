"""Backgrounds: five kinds of quiet texture in a colour that keeps every object visible."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np
from PIL import Image

BackgroundKind = Literal["plain", "gradient", "noise", "tiles", "clouds"]
BACKGROUNDS: tuple[BackgroundKind, ...] = ("plain", "gradient", "noise", "tiles", "clouds")


@dataclass(frozen=True, kw_only=True)
class Background:
    """What lies behind the objects; ``tone`` follows the lightness of ``rgb``."""

    kind: BackgroundKind
    rgb: tuple[int, int, int]
    tone: Literal["dark", "medium", "light"]


def _candidate(rng: Random) -> tuple[int, int, int]:
    light = rng.random() < 0.7
    level = rng.uniform(165, 245) if light else rng.uniform(15, 85)
    red, green, blue = (min(255, max(0, round(level + rng.uniform(-28, 28)))) for _ in range(3))
    return red, green, blue


def choose_background(rng: Random, colours: list[tuple[int, int, int]]) -> Background:
    """Draw a kind, and of twelve random colours the first that is far from all ``colours``."""
    best, best_distance = (0, 0, 0), -1.0
    for _ in range(12):
        rgb = _candidate(rng)
        distance = min(
            (sum((a - b) ** 2 for a, b in zip(rgb, c, strict=True)) for c in colours),
            default=1e9,
        )
        if distance > best_distance:
            best, best_distance = rgb, distance
        if distance > 80**2:
            break
    level = sum(best) / 3
    tone: Literal["dark", "medium", "light"] = (
        "dark" if level < 100 else "light" if level > 155 else "medium"
    )
    return Background(kind=rng.choice(BACKGROUNDS), rgb=best, tone=tone)


def paint_background(background: Background, size: int, rng: Random) -> np.ndarray:
    """Return ``(size, size, 3)`` uint8; textures stay within about 25 grey levels of ``rgb``."""
    base = np.asarray(background.rgb, dtype=np.float32)
    amount = rng.uniform(8, 16)
    if background.kind == "plain":
        field = np.zeros((size, size, 1), np.float32)
    elif background.kind == "gradient":
        ramp = np.linspace(-1.5, 1.5, size, dtype=np.float32)
        a, b = rng.uniform(-1, 1), rng.uniform(-1, 1)
        field = (a * ramp[:, None] + b * ramp[None, :])[..., None]
    elif background.kind == "tiles":
        period = max(2, round(size * rng.uniform(0.08, 0.2)))
        steps = (np.arange(size) // period) % 2
        field = ((steps[:, None] ^ steps[None, :]) * 2.0 - 1.0)[..., None]
    else:
        noise = np.random.default_rng(rng.getrandbits(64))
        if background.kind == "noise":
            field = noise.standard_normal((size // 2, size // 2, 1), np.float32)
            field = field.repeat(2, 0).repeat(2, 1)
            field = np.pad(field, ((0, size % 2), (0, size % 2), (0, 0)), mode="edge")
        else:
            coarse = Image.fromarray(noise.random((5, 5), np.float32) * 4 - 2)
            field = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))[..., None]
    painted = base + amount * field
    return np.clip(painted, 0, 255, out=painted).astype(np.uint8)
