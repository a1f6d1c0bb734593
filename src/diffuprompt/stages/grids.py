"""What prompts in the image tower work on: the stem's output of every (image, view).

A stem does not depend on prompts, so its output is computed once, exact as it is: in memory while
the budget of the job lasts, and in cached files that all runs share. Only for a plain ViT, whose
stem is the identity, are there no files: its grids are the pixels, some ten times larger than the
pictures they come from (0.6 MB at 224 x 224), so what does not fit in memory is decoded again.

Legend: B image, G channels of a grid.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from diffuprompt.data import Item, iterate
from diffuprompt.engine import sent
from diffuprompt.stages.features import FeatureStore

SHARD = 64  # pictures per file
KIND, NAME = "grids", "grids"
Grids = Iterator[tuple[int, Tensor]]
log = logging.getLogger(__name__)


class GridStore:
    """Grids of a data set's images, in the same views as the features of ``store``."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.on_disk = not isinstance(store.clip.vision.stem, nn.Identity)
        self._kept: dict[tuple[str, str, int | None], Tensor] = {}  # path, content, view
        self._told = False

    def fill(self, items: Sequence[Item], view: int | None) -> None:
        """Compute or read grids ahead of time, in order; without files, while the budget lasts."""
        starts = range(0, len(items), SHARD)
        missing = [s for s in starts if self.on_disk and not self._is_cached(items, s, view)]
        if missing:
            sizes = {start: min(SHARD, len(items) - start) for start in missing}
            with self.store.progress.task("image grids", total=sum(sizes.values())) as task:
                for start, size in sizes.items():
                    self._write(items, start, view)
                    task.advance(size)
        for start in starts:
            stop = min(start + SHARD, len(items))
            self.get(items, range(start, stop), view)
            if self._memory_key(items[stop - 1], view) not in self._kept:
                return

    @torch.inference_mode(mode=False)  # what is kept must also serve later backward passes
    def get(
        self,
        items: Sequence[Item],
        positions: Sequence[int],
        view: int | None,
        *,
        keep: bool = True,
    ) -> Tensor:
        """Return the grids ``(B, G, H, W)`` of ``items`` at ``positions``.

        Args:
            items: the images.
            positions: B places in ``items``.
            view: a random view, or None for the test view.
            keep: whether these will be asked for again.
        """
        keys = {p: self._memory_key(items[p], view) for p in positions}
        found = {p: self._kept[key] for p, key in keys.items() if key in self._kept}
        missing = [p for p in keys if p not in found]
        source = self._stored if keep and self.on_disk else self._computed
        for position, grid in source(items, missing, view):
            found[position] = grid
            if keep and self.store.budget.take(grid.nbytes):
                self._kept[keys[position]] = grid
        return sent(torch.stack([found[p] for p in positions]), self.store.clip.device)

    def _memory_key(self, item: Item, view: int | None) -> tuple[str, str, int | None]:
        return (item.path, self.store.hashes([item])[0], view)

    def _computed(self, items: Sequence[Item], positions: Sequence[int], view: int | None) -> Grids:
        """Decode and pass the stem, one picture at a time: the bits must not depend on others."""
        store, clip = self.store, self.store.clip
        maker = store.view_maker(view)
        for batch in iterate(items, store.root, maker, 1, store.workers, order=positions):
            assert batch.pixels is not None
            if not self.on_disk:  # the pixels themselves: no way to the device and back
                store.check_finite(batch.pixels, [items[int(batch.index[0])]])
                yield int(batch.index[0]), batch.pixels[0]
                continue
            with torch.no_grad():
                grid = clip.vision.stem(sent(batch.pixels, clip.device)).cpu()
            store.check_finite(grid, [items[int(batch.index[0])]])
            yield int(batch.index[0]), grid[0].contiguous()

    def _stored(self, items: Sequence[Item], positions: Sequence[int], view: int | None) -> Grids:
        """Read from files; those that are not there are written first."""
        for number, group in groupby(sorted(positions), lambda p: p // SHARD):
            start, places = number * SHARD, list(group)
            inside = [p - start for p in places]
            rows = self.store.cache.read(KIND, self._key(items, start, view), NAME, inside)
            if rows is None:
                rows = self._write(items, start, view)[inside]
            yield from zip(places, rows.unbind(), strict=True)

    def _write(self, items: Sequence[Item], start: int, view: int | None) -> Tensor:
        stop = min(start + SHARD, len(items))
        grids = torch.stack([grid for _, grid in self._computed(items, range(start, stop), view)])
        if not self._told:
            size, place = grids[0].nbytes / 2**10, self.store.cache.root / KIND
            log.info("keeping image grids, %.0f KiB per picture and view, in %s", size, place)
            self._told = True
        self.store.cache.write(KIND, self._key(items, start, view), {NAME: grids})
        return grids

    def _is_cached(self, items: Sequence[Item], start: int, view: int | None) -> bool:
        return self.store.cache.has(KIND, self._key(items, start, view))

    def _key(self, items: Sequence[Item], start: int, view: int | None) -> str:
        return self.store.key(items[start : start + SHARD], view)
