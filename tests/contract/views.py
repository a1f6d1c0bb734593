"""Image sets whose features are given, in the place of a feature store over files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from tests.contract.towers import pictures
from torch import Tensor

from diffuprompt.clip.model import Clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.data.manifest import Item
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.learners.classes import Classes
from diffuprompt.stages.budget import Budget
from diffuprompt.stages.features import FeatureStore
from diffuprompt.stages.image_set import ImageSet


class GivenFeatures:
    """Looks like a `FeatureStore`; random views are the test view plus noise of (view)."""

    def __init__(self, features: Tensor, noise: float) -> None:
        self.features, self.noise = features, noise
        self.clip = cast(Clip, _Device())
        self.asked: list[int | None] = []
        self.budget = Budget(0)

    def test(self, items: Sequence[Item]) -> Tensor:
        self.asked.append(None)
        return self.features[[int(item.path) for item in items]]

    def rows(self, items: Sequence[Item], positions: Sequence[int], view: int | None) -> Tensor:
        every = self.test(items) if view is None else self.train(items, view)
        return every[list(positions)]

    def train(self, items: Sequence[Item], view: int, task: object = None) -> Tensor:
        self.asked.append(view)
        x = self.features[[int(item.path) for item in items]]
        return x + self.noise * torch.randn(x.shape, generator=torch_stream(3, view)).to(x.dtype)


class _Device:
    device = torch.device("cpu")


class GivenGrids:
    """Looks like a `GridStore`; every view is the test view."""

    def __init__(self, clip: Clip, images: ImageBatch) -> None:
        self.clip, self.images = clip, images

    def get(self, items: Any, positions: list[int], view: Any, *, keep: bool = True) -> Tensor:
        assert self.images.pixels is not None
        with torch.no_grad():
            return self.clip.vision.stem(self.images.pixels[positions])


def image_set(clip: Clip, images: ImageBatch, classes: Classes, *, noise: float = 0.1) -> ImageSet:
    """An image set over a batch."""
    assert images.features is not None
    assert images.labels is not None
    items = tuple(Item(str(i), int(label)) for i, label in enumerate(images.labels))
    store: Any = GivenFeatures(images.features, noise)
    grids: Any = GivenGrids(clip, images)
    return ImageSet(items, classes, cast(FeatureStore, store), grids)


def tiny_set(clip: Clip, count: int, classes: Classes, *, noise: float = 0.1) -> ImageSet:
    """An image set of random pictures."""
    return image_set(clip, pictures(clip, count), classes, noise=noise)
