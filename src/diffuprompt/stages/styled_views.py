"""Copies of training pictures in other styles, for which V* is found too (``overfit.views``).

An attempt of our own to make prompt diffusion robust: features of shifted pictures lie where the
generator has seen none. Kinds are those that are furthest from the targets of the study under shift
on scenes (sketch, noisy, inverted, painted): no lines, noise or palette.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.data import SEVERITIES, Item, shifted_png
from diffuprompt.engine import Progress, write_bytes
from diffuprompt.runs import cache_root, digest
from diffuprompt.stages.grids import GridStore
from diffuprompt.stages.image_set import ImageSet

KINDS = ("grey", "blur", "contrast", "jpeg")
VERSION = 1  # of which copy a picture gets
FOLDER = "styled"  # in the cache


def with_copies(images: ImageSet, progress: Progress) -> ImageSet:
    """Return the images and, behind them in their order, one shifted copy of each.

    Kinds take turns from picture to picture and severities from round to round, so that the shots
    of a class come in different ones. Copies are written once into the cache.
    """
    folder, copies = cache_root() / FOLDER, []
    hashes = images.store.hashes(images.items)
    with progress.task("styled copies", total=len(images)) as task:
        for i, (item, content) in enumerate(zip(images.items, hashes, strict=True)):
            kind = KINDS[i % len(KINDS)]
            severity = SEVERITIES[i // len(KINDS) % len(SEVERITIES)]
            path = folder / f"{digest([VERSION, content, kind, severity])}.png"
            if not path.is_file():
                source = images.store.root / item.path
                write_bytes(path, shifted_png(Path(source), kind, severity, [0]))
            copies.append(Item(str(path.resolve()), item.label))
            task.advance(1)
    grids = None if images.grids is None else GridStore(images.store)
    return ImageSet((*images.items, *copies), images.classes, images.store, grids)


def style_groups(images: ImageSet) -> list[Tensor]:
    """Return the positions of the copies of each kind among what `with_copies` returned."""
    half = len(images) // 2
    kinds = range(min(half, len(KINDS)))
    return [torch.arange(half + first, len(images), len(KINDS)) for first in kinds]
