"""Images as batches: decoded in threads, handed out in order, never skipped.

Legend: B image, H height, W width, E embedding, G channels of a grid.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from diffuprompt.data.decode import load_image
from diffuprompt.data.manifest import Item

__all__ = ["ImageBatch", "Needs", "View", "iterate", "load_image"]

View = Callable[[Image.Image, Item], Tensor]
PREFETCH = 2  # batches decoded ahead of the one in use: bounds memory, hides decoding


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What of an image is read: nothing else has to be decoded or computed.

    Attributes:
        features: its prompt-free features.
        grid: what prompts in the image tower work on.
        second: prompt-free features of another random view.
    """

    features: bool = True
    grid: bool = False
    second: bool = False

    def __or__(self, other: Needs) -> Needs:
        """Return the needs of both."""
        return Needs(
            features=self.features or other.features,
            grid=self.grid or other.grid,
            second=self.second or other.second,
        )


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Images on their way to a tower.

    ``pixels`` is ``(B, 3, H, W)``, or None when only what was made of them travels; ``labels``
    ``(B,)`` int64, or None when unknown; ``index`` ``(B,)`` int64, the positions in the list of
    items; ``features`` ``(B, E)``, or None before the image tower has run; ``grid``
    ``(B, G, H, W)``, what the tower's stem makes of the pixels (for a plain ViT, the pixels);
    ``second`` ``(B, E)``, the prompt-free features of another random view.
    """

    pixels: Tensor | None
    labels: Tensor | None
    index: Tensor
    features: Tensor | None = None
    grid: Tensor | None = None
    second: Tensor | None = None

    def __post_init__(self) -> None:
        sizes = {name: len(tensor) for name, tensor in self._tensors().items()}
        assert len(set(sizes.values())) == 1, f"tensors disagree on the number of images: {sizes}"

    def __len__(self) -> int:
        return len(self.index)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def _map(self, change: Callable[[Tensor], Tensor]) -> ImageBatch:
        every: dict[str, Any] = dict.fromkeys(f.name for f in fields(self))
        every.update({name: change(tensor) for name, tensor in self._tensors().items()})
        return ImageBatch(**every)

    def to(self, device: torch.device | str) -> ImageBatch:
        """Return the batch on ``device``."""
        return self._map(lambda tensor: tensor.to(device))

    def select(self, index: Tensor | slice) -> ImageBatch:
        """Return some of the images: positions, a boolean mask or a slice within this batch."""
        return self._map(lambda tensor: tensor[index])


def iterate(
    items: Sequence[Item],
    root: Path,
    view: View,
    batch_size: int,
    workers: int = 0,
    *,
    order: Sequence[int] | None = None,
) -> Iterator[ImageBatch]:
    """Yield every image of ``items`` once, in batches, the last one possibly smaller.

    ``order`` gives positions in ``items`` (all of them in turn by default); a batch's ``index``
    holds those positions. ``view`` makes ``(3, H, W)`` from a decoded image and runs in one of
    ``workers`` threads, so its randomness must come from the item, not from a shared generator;
    with 0 workers everything runs in the caller. The result does not depend on ``workers``.

    Raises the `DataError` of the first image in order that cannot be opened.
    """
    positions = range(len(items)) if order is None else order

    def load(position: int) -> Tensor:
        return view(load_image(root / items[position].path), items[position])

    chunks = [positions[i : i + batch_size] for i in range(0, len(positions), batch_size)]
    if workers <= 0:
        for chunk in chunks:
            yield _collate(items, chunk, [load(p) for p in chunk])
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    waiting: deque[tuple[Sequence[int], list[Future[Tensor]]]] = deque()
    try:
        for chunk in chunks:
            waiting.append((chunk, [pool.submit(load, p) for p in chunk]))
            if len(waiting) > PREFETCH:
                ready, futures = waiting.popleft()
                yield _collate(items, ready, [future.result() for future in futures])
        while waiting:
            ready, futures = waiting.popleft()
            yield _collate(items, ready, [future.result() for future in futures])
    finally:  # also when the caller stops early or an image fails
        pool.shutdown(wait=True, cancel_futures=True)


def _collate(items: Sequence[Item], chunk: Sequence[int], pixels: list[Tensor]) -> ImageBatch:
    labels = torch.tensor([items[p].label for p in chunk])
    return ImageBatch(torch.stack(pixels), labels, torch.tensor(list(chunk)))
