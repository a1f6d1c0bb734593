"""What prompts in the image tower work on: the stem's output of every (image, view).

A stem does not depend on prompts, so its output is computed once and kept in memory while a budget
lasts, exact as it is; what does not fit is computed again. For a plain ViT the stem is the identity
and what is kept are the pixels.

Legend: B image, G channels of a grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffuprompt.clip.features import FeatureStore
from diffuprompt.data.images import iterate
from diffuprompt.data.manifest import Item


class GridStore:
    """Grids of a data set's images, in the same views as the features of ``store``.

    Kept grids are never dropped: images are visited in cycles, where the usual policies of caches
    keep what is needed last.
    """

    def __init__(self, store: FeatureStore, *, memory_mib: int = 1024) -> None:
        self.store, self.budget = store, memory_mib * 2**20
        self.used = 0
        self._kept: dict[tuple[str, int | None], Tensor] = {}

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
        missing = [p for p in dict.fromkeys(positions) if (items[p].path, view) not in self._kept]
        fresh = {p: self._kept[items[p].path, view] for p in positions if p not in missing}
        clip, store = self.store.clip, self.store
        # One picture at a time: the bits must not depend on which others are missing.
        look = store.look(view)
        for batch in iterate(items, store.root, look, 1, store.workers, order=missing):
            assert batch.pixels is not None
            with torch.no_grad():
                grid = clip.vision.stem(batch.pixels.to(clip.device))[0].cpu()
            position = int(batch.index[0])
            fresh[position] = grid
            if keep and self.used + grid.nbytes <= self.budget:
                self.used += grid.nbytes
                self._kept[items[position].path, view] = grid
        return torch.stack([fresh[p] for p in positions]).to(clip.device)
