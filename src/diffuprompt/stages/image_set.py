"""Some images of a job with labels, and what of them does not depend on prompts, on demand.

Legend: B image of a batch, C class, E embedding, N all images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from diffuprompt.data import ImageBatch, Item, Needs
from diffuprompt.engine import Tally, sent
from diffuprompt.learners import Classes
from diffuprompt.stages.features import FeatureStore
from diffuprompt.stages.grids import GridStore

FEATURES = Needs()
Asked = TypeVar("Asked")
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Some images with labels among ``classes``, and their prompt-free features on demand."""

    items: tuple[Item, ...]
    classes: Classes
    store: FeatureStore
    grids: GridStore | None = None

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def labels(self) -> Tensor:
        """Labels ``(N,)``."""
        return torch.tensor([i.label for i in self.items], device=self.store.clip.device)

    @cached_property
    def features(self) -> Tensor:
        """Features ``(N, E)`` of the test view, all in memory: for training images."""
        return self.store.test(self.items)

    @cached_property
    def before_projection(self) -> ImageSet:
        """The same images with the image tower's states before its projection for features."""
        return ImageSet(self.items, self.classes, self.store.before_projection)

    def rows(self, index: Tensor) -> Tensor:
        """Features ``(B, E)`` of the test view at positions ``(B,)``, with a batch's memory."""
        if "features" in self.__dict__:
            return self.features[sent(index, self.features.device)]
        return self.store.rows(self.items, index.tolist(), None)

    def batch(
        self,
        index: Tensor,
        view: int | None = None,
        *,
        needs: Needs = FEATURES,
        second: int | None = None,
        keep: bool = True,
    ) -> ImageBatch:
        """Return the images at ``index``.

        Args:
            index: positions ``(B,)``.
            view: a random view, or None for the test view.
            needs: what the batch carries.
            second: the other view, where one is needed.
            keep: whether the view will be asked for in other epochs.
        """
        features = grid = other = pooled = None
        at = sent(index, self.labels.device)
        if needs.features:
            features = self.rows(index) if view is None else self.view(view, keep=keep)[at]
        if needs.pooled:
            before = self.before_projection
            pooled = before.rows(index) if view is None else before.view(view, keep=keep)[at]
        if needs.second and second is not None:
            other = self.view(second, keep=keep)[at]
        if needs.grid:
            grid = self.grid(index, view, keep=keep)
        return ImageBatch(None, self.labels[at], at, features, grid, other, pooled)

    def grid(self, index: Tensor, view: int | None, *, keep: bool) -> Tensor:
        """Grids ``(B, G, H, W)`` of one view at positions ``(B,)``."""
        assert self.grids is not None, "this image set was made without grids"
        return self.grids.get(self.items, index.tolist(), view, keep=keep)

    def warm(self, needs: Needs) -> None:
        """Compute or read what does not depend on prompts, of the test view, ahead of time."""
        if needs.features:
            self.store.warm(self.items)
        if needs.pooled:
            self.before_projection.store.warm(self.items)
        if needs.grid and self.grids is not None:
            self.grids.fill(self.items, None)

    def warm_views(self, count: int, first: int = 0) -> None:
        """Compute or read ``count`` random views from ``first`` on ahead of time, under one bar."""
        views = range(first, first + count)
        missing = sum(self.store.missing(self.items, view) for view in views)
        with self.store.bar(missing, f"image features, {count} views") as task:
            for view in views:
                self.view(view, task=task)

    def view(self, view: int, *, keep: bool = True, task: Tally | None = None) -> Tensor:
        """Features ``(N, E)`` of one random view; ``task`` counts what has to be computed.

        They are kept while the memory budget lasts, where ``keep`` says that they will be asked
        for again, and read from disk otherwise; the two views an epoch works on are always here.
        """
        kept: dict[int, Tensor] = self.__dict__.setdefault("_kept", {})
        epoch: dict[int, Tensor] = self.__dict__.setdefault("_epoch", {})
        if view in kept:
            return kept[view]
        if view not in epoch:
            features = self.store.train(self.items, view, task)
            if keep and self.store.budget.take(features.nbytes):
                return kept.setdefault(view, features)
            if len(epoch) > 1:
                del epoch[next(iter(epoch))]
            epoch[view] = features
        return epoch[view]


def ahead(make: Callable[[Asked], Made], of: Sequence[Asked]) -> Iterator[tuple[Asked, Made]]:
    """Yield ``(x, make(x))`` in order, with the next one made in a thread while this one is used.

    Images are decoded and read in this way while the device computes; at most two results exist.
    """
    if not of:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        waiting = [(x, thread.submit(make, x)) for x in of[:1]]
        for following in [*of[1:], None]:
            x, future = waiting.pop()
            result = future.result()
            if following is not None:
                waiting.append((following, thread.submit(make, following)))
            yield x, result
