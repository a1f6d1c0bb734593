"""What prompts in the image tower work on: the stem's output of every (image, view).

A stem does not depend on prompts, so its output is computed once, exact as it is: in memory while
the budget of the job lasts, and in files that all runs share. Only for a plain ViT, whose stem is
the identity, are there no files: its grids are the pixels, some ten times larger than the pictures
they come from (0.6 MB at 224 x 224), so what does not fit in memory is decoded again.

Legend: B image, G channels of a grid.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from diffuprompt.data.images import iterate
from diffuprompt.data.manifest import Item
from diffuprompt.engine.files import write_tensors
from diffuprompt.errors import CheckpointError
from diffuprompt.stages.features import FeatureStore

SHARD = 64  # pictures a file
Grids = Iterator[tuple[int, Tensor]]
log = logging.getLogger(__name__)


class GridStore:
    """Grids of a data set's images, in the same views as the features of ``store``."""

    def __init__(self, store: FeatureStore) -> None:
        self.store, self.cache = store, store.cache.with_name("grids")
        self.on_disk = not isinstance(store.clip.vision.stem, nn.Identity)
        self._kept: dict[tuple[str, int | None], Tensor] = {}
        self._told = False
        self._paths: dict[tuple[tuple[Item, ...], int | None], Path] = {}

    def fill(self, items: Sequence[Item], view: int | None) -> None:
        """Compute or read grids ahead of time, in order; without files, while the budget lasts."""
        starts = range(0, len(items), SHARD)
        missing = [s for s in starts if self.on_disk and not self._path(items, s, view).exists()]
        if missing:
            sizes = {start: min(SHARD, len(items) - start) for start in missing}
            with self.store.progress.task("image grids", total=sum(sizes.values())) as task:
                for start, size in sizes.items():
                    self._write(items, start, view)
                    task.advance(size)
        for start in starts:
            stop = min(start + SHARD, len(items))
            self.get(items, range(start, stop), view)
            if (items[stop - 1].path, view) not in self._kept:
                return

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

        Raises:
            CheckpointError: a cached file is damaged.
        """
        missing = [p for p in dict.fromkeys(positions) if (items[p].path, view) not in self._kept]
        found = {p: self._kept[items[p].path, view] for p in positions if p not in missing}
        source = self._stored if keep and self.on_disk else self._computed
        for position, grid in source(items, missing, view):
            found[position] = grid
            if keep and self.store.budget.take(grid.nbytes):
                self._kept[items[position].path, view] = grid
        return torch.stack([found[p] for p in positions]).to(self.store.clip.device)

    def _computed(self, items: Sequence[Item], positions: Sequence[int], view: int | None) -> Grids:
        """Decode and pass the stem, one picture at a time: the bits must not depend on others."""
        store, clip = self.store, self.store.clip
        look = store.look(view)
        for batch in iterate(items, store.root, look, 1, store.workers, order=positions):
            assert batch.pixels is not None
            with torch.no_grad():
                grid = clip.vision.stem(batch.pixels.to(clip.device))[0]
            yield int(batch.index[0]), grid.cpu().contiguous()

    def _stored(self, items: Sequence[Item], positions: Sequence[int], view: int | None) -> Grids:
        """Read from files; those that are not there are written first."""
        for number, group in groupby(sorted(positions), lambda p: p // SHARD):
            start = number * SHARD
            path = self._path(items, start, view)
            if not path.exists():
                self._write(items, start, view)
            count = min(SHARD, len(items) - start)
            try:
                with safe_open(str(path), framework="pt") as file:
                    rows = file.get_slice("grids")
                    if rows.get_shape()[0] != count:
                        raise SafetensorError(f"{rows.get_shape()[0]} grids, not {count}")
                    for position in group:
                        at = position - start
                        yield position, rows[at : at + 1][0].clone()
            except (OSError, SafetensorError) as cause:
                raise CheckpointError(
                    f"{path}: not the cached grids expected here ({cause}); delete the file, it "
                    "will be computed again"
                ) from cause

    def _write(self, items: Sequence[Item], start: int, view: int | None) -> None:
        stop = min(start + SHARD, len(items))
        grids = [grid for _, grid in self._computed(items, range(start, stop), view)]
        path = self._path(items, start, view)
        if not self._told:
            size = grids[0].nbytes / 2**10
            log.info("keeping image grids, %.0f KiB a picture and view, in %s", size, self.cache)
            self._told = True
        write_tensors(path, {"grids": torch.stack(grids)})

    def _path(self, items: Sequence[Item], start: int, view: int | None) -> Path:
        shard = tuple(items[start : start + SHARD])
        if (shard, view) not in self._paths:
            key = self.store.key(shard, view)
            self._paths[shard, view] = self.cache / f"{key}.safetensors"
        return self._paths[shard, view]
