"""Scenes and crowds: drawn pictures with referring expressions.

Every picture is a pure function of (world, split, seed, index); boxes and masks are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import numpy as np
from PIL import Image

from diffuprompt.data import Scene, SceneObject, Style, held_out, references, scene
from diffuprompt.grounding.worlds.picture import Picture, Split

SIDE = 64  # pixels of a scene
CROWDED = (12, 24)  # objects of a crowd
PARTS = 4  # scenes of a crowd, two by two
MAX_PART = 6  # objects of a scene

Targets = Literal["all", "held-out"]


@dataclass(frozen=True, kw_only=True)
class SceneWorld:
    """Scenes of one to six objects, by number; of the training split, no look that is held out.

    Attributes:
        split: splits never share a picture.
        seed: of the sequence.
        count: expressions that a picture has at most.
        style: how pictures are drawn; objects and expressions are the same in each.
        targets: which objects expressions may mean: all, or those of looks that are held out.
    """

    split: Split
    seed: int
    count: int = 0
    style: Style = "clean"
    targets: Targets = "all"

    def __call__(self, index: int) -> Picture:
        """Return picture ``index``."""
        made = scene(
            self.seed,
            index,
            size=SIDE,
            style=self.style,
            pretraining=self.split == "train",
            stream=f"refer-{self.split}",
        )
        name = f"scenes/{self.split}/{self.seed}/{index}"
        return _picture(made, name, self.count, self.targets)


@dataclass(frozen=True, kw_only=True)
class CrowdWorld:
    """Four scenes side by side, 12 to 24 objects, and expressions about all of them.

    Attributes:
        split: splits never share a picture.
        seed: of the sequence.
        count: expressions that a picture has at most.
    """

    split: Split
    seed: int
    count: int = 0

    def __call__(self, index: int) -> Picture:
        """Return picture ``index``."""
        name = f"crowds/{self.split}/{self.seed}/{index}"
        parts = [
            scene(
                self.seed,
                PARTS * index + i,
                size=SIDE,
                num_objects=count,
                pretraining=self.split == "train",
                stream=f"crowd-{self.split}",
            )
            for i, count in enumerate(_counts(Random(name)))
        ]
        return _picture(_mosaic(parts), name, self.count, "all")


def _counts(rng: Random) -> list[int]:
    """Return how many objects each part of a crowd has."""
    counts = [CROWDED[0] // PARTS] * PARTS
    for _ in range(rng.randint(0, CROWDED[1] - CROWDED[0])):
        free = [i for i, count in enumerate(counts) if count < MAX_PART]
        counts[rng.choice(free)] += 1
    return counts


def _mosaic(parts: Sequence[Scene]) -> Scene:
    """Return two by two scenes as one."""
    image = Image.new("RGB", (2 * SIDE, 2 * SIDE))
    objects: list[SceneObject] = []
    for i, part in enumerate(parts):
        x, y = SIDE * (i % 2), SIDE * (i // 2)
        image.paste(part.image, (x, y))
        for item in part.objects:
            mask = np.zeros((2 * SIDE, 2 * SIDE), bool)
            mask[y : y + SIDE, x : x + SIDE] = item.mask
            x0, y0, x1, y1 = item.box
            objects.append(replace(item, box=(x0 + x, y0 + y, x1 + x, y1 + y), mask=mask))
    return replace(parts[0], image=image, objects=tuple(objects))


def _picture(made: Scene, name: str, count: int, targets: Targets) -> Picture:
    meant = [
        i
        for i, item in enumerate(made.objects)
        if targets == "all" or held_out(item.shape, item.colour, item.fill)
    ]
    return Picture(
        name=name,
        image=made.image,
        boxes=np.array([item.box for item in made.objects], np.float32),
        masks=np.stack([item.mask for item in made.objects]),
        words=tuple(_words(item) for item in made.objects),
        references=tuple(
            references(made, Random(f"{name}/expressions"), count=count, targets=meant)
        ),
    )


def _words(item: SceneObject) -> tuple[str, ...]:
    """Return what object labels may say: never a size, an extreme or a relation."""
    return (
        item.shape,
        f"{item.colour} {item.shape}",
        f"{item.fill} {item.shape}",
        f"{item.colour} {item.fill} {item.shape}",
        f"{item.colour} object",
        f"{item.fill} object",
    )
