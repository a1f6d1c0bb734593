"""Prompt-free image features, computed once for every (image, view) and cached in files.

They do not depend on prompts, so learners without vision prompts never run the image tower again.

Legend: B image of a batch, N image, E embedding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import groupby
from pathlib import Path

import PIL
import torch
from PIL import Image
from torch import Tensor

from diffuprompt.clip import Clip
from diffuprompt.data import Item, View, get_augment, iterate
from diffuprompt.engine import NULL, Progress, Tally, python_stream, sent
from diffuprompt.errors import CheckpointError
from diffuprompt.runs import Cache, Contents, digest
from diffuprompt.stages.budget import Budget
from diffuprompt.stages.inputs import picture_hashes

VERSION = 1  # of decoding, views and towers: raise it when the same pictures give other features
SHARD = 1024  # images per cached file: what an interruption may lose
KIND = "features"
FEATURES, POOLED = "features", "pooled"  # tensors of a file
RECENT = 2  # shards that are kept in memory, for rows that are asked for in turn


class FeatureStore:
    """Features of a data set's images under one frozen CLIP.

    Cached files are named by all that decides their bits: the pictures' bytes, the backbone,
    the view, and what decodes and computes on this machine. A file also holds what the
    projection of the image tower reads: learners that train the projection ask for the same
    views as others, and so the tower runs once for all of them. ``budget`` is the memory that
    whoever asks for features or grids may keep them in.
    """

    def __init__(
        self,
        clip: Clip,
        root: Path,
        *,
        seed: int,
        augment: str = "crop",
        workers: int = 2,
        batch_size: int = 64,
        budget: Budget | None = None,
        cache: Cache | None = None,
        contents: Contents | None = None,
        progress: Progress = NULL,
    ) -> None:
        """Open the store; nothing is read yet.

        Args:
            clip: the frozen backbone.
            root: where the items' paths begin.
            seed: of the random views.
            augment: what a random view is, a name of `data.augment.AUGMENTS`.
            workers: threads that decode pictures.
            batch_size: pictures at once; changes roundings only.
            budget: memory that features and grids share; by default 1 GiB.
            cache: where files are kept; by default the user's cache.
            contents: hashes of the pictures' bytes.
            progress: shows what is computed.
        """
        self.clip, self.root, self.seed = clip, root, seed
        self.augment, self._augment = augment, get_augment(augment)
        self.workers, self.batch_size, self.progress = workers, batch_size, progress
        self.budget = budget or Budget(1024)
        self.cache, self.contents = cache or Cache(), contents or Contents()
        self._hashes: dict[str, str] = {}
        self._keys: dict[tuple[tuple[Item, ...], int | None], str] = {}
        self._recent: dict[str, Tensor] = {}
        self._name = FEATURES

    @cached_property
    def before_projection(self) -> FeatureStore:
        """The same views as the image tower's projection finds them, ``(N, D)``."""
        other = copy.copy(self)
        other._name, other._recent = POOLED, {}
        return other

    def test(self, items: Sequence[Item]) -> Tensor:
        """Return ``(N, E)`` of the deterministic test view, not normalised."""
        with self.bar(self.missing(items)) as task:
            return self._all(items, None, task)

    def train(self, items: Sequence[Item], view: int, task: Tally | None = None) -> Tensor:
        """Return ``(N, E)`` of random view ``view``, made from (seed, image, view).

        ``task`` counts what has to be computed; without one it is a part of whatever asks for it.
        """
        return self._all(items, view, task)

    @torch.inference_mode(mode=False)  # remembered rows must also serve later backward passes
    def rows(self, items: Sequence[Item], positions: Sequence[int], view: int | None) -> Tensor:
        """Return ``(B, E)`` of ``items`` at ``positions``, with the memory of one file."""
        found: dict[int, Tensor] = {}
        for number, group in groupby(sorted(set(positions)), lambda p: p // SHARD):
            places, start = list(group), number * SHARD
            inside = [p - start for p in places]
            key = self.key(items[start : start + SHARD], view)
            rows = None
            if key not in self._recent:
                rows = self.cache.read(KIND, key, self._name, inside)
            if rows is None:
                rows = self._shard(items[start : start + SHARD], view)[inside]
            found.update(zip(places, rows, strict=True))
        return sent(torch.stack([found[p] for p in positions]), self.clip.device)

    def warm(self, *groups: Sequence[Item]) -> None:
        """Compute what is not cached yet of test views, under one bar; later rows are read."""
        with self.bar(sum(map(self.missing, groups))) as task:
            for items in groups:
                for _ in self._shards(items, None, task):
                    pass

    def missing(self, items: Sequence[Item], view: int | None = None) -> int:
        """Return how many of the items have to be computed."""
        shards = self._split(items)
        return sum(len(s) for s in shards if not self.cache.has(KIND, self.key(s, view)))

    def bar(self, total: int, what: str = "image features") -> AbstractContextManager[Tally]:
        """Open a piece of work of ``total`` images, which is shown where there is any."""
        return (self.progress if total else NULL).task(what, total=total)

    def view_maker(self, view: int | None) -> View:
        """Return what makes a view of a decoded image: the test view for None, or random ones."""
        preprocess = self.clip.preprocess

        def make(image: Image.Image, item: Item) -> Tensor:
            if view is None:
                return preprocess.test_view(image)
            stream = python_stream(self.seed, "augmentation", item.path, view)
            return self._augment(preprocess, image, stream)

        return make

    def hashes(self, items: Sequence[Item]) -> list[str]:
        """Return the hash of every picture's bytes, computed once per store."""
        new = [item.path for item in items if item.path not in self._hashes]
        if new:
            paths = [self.root / path for path in new]
            found = picture_hashes(self.contents, paths, self.progress)
            self._hashes.update(zip(new, found, strict=True))
        return [self._hashes[item.path] for item in items]

    def key(self, items: Sequence[Item], view: int | None) -> str:
        """Return a name for what the tower makes of these pictures in this view."""
        shard = tuple(items)
        if (shard, view) not in self._keys:
            random = None if view is None else [self.seed, view, self.augment]
            self._keys[shard, view] = digest(
                [
                    *(VERSION, torch.__version__, PIL.__version__, self.clip.device.type),
                    *(self.clip.identity, str(self.clip.logit_scale.dtype)),
                    *(random, self.hashes(shard)),
                    # random views are drawn by the path
                    None if view is None else [item.path for item in shard],
                ]
            )
        return self._keys[shard, view]

    @torch.inference_mode(mode=False)
    def _all(self, items: Sequence[Item], view: int | None, task: Tally | None = None) -> Tensor:
        return torch.cat(list(self._shards(items, view, task))).to(self.clip.device)

    def _shards(
        self, items: Sequence[Item], view: int | None, task: Tally | None
    ) -> Iterator[Tensor]:
        """Yield the features of one file after the other."""
        for shard in self._split(items):
            yield self._shard(shard, view, task)

    def _split(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        return [items[i : i + SHARD] for i in range(0, len(items), SHARD)]

    def _shard(self, shard: Sequence[Item], view: int | None, task: Tally | None = None) -> Tensor:
        """Return one file's features, on the CPU; the last few are remembered."""
        key = self.key(shard, view)
        if key not in self._recent:
            found = self.cache.read(KIND, key, self._name)
            if found is None:
                parts = []
                for part in self._encode(shard, view):
                    parts.append(part)
                    if task is not None:
                        task.advance(len(part[FEATURES]))
                made = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
                self.cache.write(KIND, key, made)
                found = made[self._name]
            self._recent[key] = found
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
        return self._recent[key]

    def _encode(self, items: Sequence[Item], view: int | None) -> Iterator[dict[str, Tensor]]:
        """Yield batches of what a file holds."""
        maker, vision = self.view_maker(view), self.clip.vision
        for batch in iterate(items, self.root, maker, self.batch_size, self.workers):
            assert batch.pixels is not None
            with torch.inference_mode():
                pooled = vision.pooled(vision.stem(sent(batch.pixels, self.clip.device)))
                made = {POOLED: pooled, FEATURES: vision.projection(pooled)}
            for name, features in made.items():
                made[name] = features.float().cpu()
                self.check_finite(made[name], [items[int(i)] for i in batch.index])
            yield made

    def check_finite(self, made: Tensor, items: Sequence[Item]) -> None:
        """Raise `CheckpointError` naming the picture and the backbone that made NaN or infinity.

        The rows of ``made`` are of ``items``.
        """
        bad = ~made.flatten(1).isfinite().all(1)
        if bad.any():
            path = self.root / items[int(bad.nonzero()[0])].path
            raise CheckpointError(
                f"{path}: the backbone {self.clip.name!r} makes features of it that are not finite "
                "numbers; is the checkpoint whole?"
            )
