"""Pictures with referring expressions that are made, not collected: scenes and crowds.

Every picture is a pure function of (world, split, seed, index); boxes and masks are exact.

Legend: N objects of a picture, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import numpy as np
from PIL import Image

from diffuprompt.data.scenes import Expression, Scene, SceneObject, referring, scene

Split = Literal["train", "val", "test"]
Kind = Literal["plain", "extreme", "relation"]
SIDE = 64  # pixels of a scene
CROWDED = 12  # objects that a crowd has at least


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture and the truth about its objects.

    Attributes:
        name: what identifies it, for errors and for resampling.
        image: RGB.
        boxes: ``(N, 4)`` float32, exclusive ends.
        masks: ``(N, H, W)`` bool, the visible part of each object.
        words: what can be said of each object without looking at the others, from one word to all.
    """

    name: str
    image: Image.Image
    boxes: np.ndarray
    masks: np.ndarray
    words: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Referent:
    """An expression and the one object that it means.

    Attributes:
        text: the expression.
        root: first and last (exclusive) character of its root phrase.
        target: index of the object.
        kind: how it tells the object from the others.
    """

    text: str
    root: tuple[int, int]
    target: int
    kind: Kind


def labelled_scene(split: Split, seed: int, index: int) -> Picture:
    """Return a scene of one to six objects; of the training split, no look that is held out."""
    return _picture(_scene(split, seed, index), f"scenes/{split}/{seed}/{index}")


def scene_picture(split: Split, seed: int, index: int) -> tuple[Picture, Referent | None]:
    """Return the same scene and an expression, None where none is unique."""
    return _with_expression(_scene(split, seed, index), f"scenes/{split}/{seed}/{index}")


def crowd_picture(split: Split, seed: int, index: int) -> tuple[Picture, Referent | None]:
    """Return four scenes side by side, 12 to 24 objects, and an expression about all of them."""
    name = f"crowds/{split}/{seed}/{index}"
    rng = Random(name)
    counts = [3, 3, 3, 3]
    for _ in range(rng.randint(0, 8)):
        counts[rng.randrange(4)] += 1
    counts = [min(count, 6) for count in counts]
    parts = [
        scene(
            seed,
            4 * index + i,
            size=SIDE,
            num_objects=count,
            pretraining=split == "train",
            stream=f"crowd-{split}",
        )
        for i, count in enumerate(counts)
    ]
    return _with_expression(_mosaic(parts), name)


def _scene(split: Split, seed: int, index: int) -> Scene:
    return scene(seed, index, size=SIDE, pretraining=split == "train", stream=f"refer-{split}")


def _with_expression(made: Scene, name: str) -> tuple[Picture, Referent | None]:
    found = referring(made, Random(f"{name}/expression"))
    return _picture(made, name), None if found is None else _referent(found)


def _mosaic(parts: list[Scene]) -> Scene:
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


def _picture(made: Scene, name: str) -> Picture:
    return Picture(
        name=name,
        image=made.image,
        boxes=np.array([item.box for item in made.objects], np.float32),
        masks=np.stack([item.mask for item in made.objects]),
        words=tuple(_words(item) for item in made.objects),
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


def _referent(found: Expression) -> Referent:
    query = found.query
    kind: Kind = "relation" if query.relation else "extreme" if query.extreme else "plain"
    root = replace(query, relation=None, anchor=None).text
    start = found.text.index(root)
    return Referent(
        text=found.text, root=(start, start + len(root)), target=found.target, kind=kind
    )
