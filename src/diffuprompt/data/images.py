"""Images as batches: decoded in threads, handed out in order, never skipped.

Legend: B image, H height, W width, E embedding, G channels of a grid.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from diffuprompt.data.decode import load_image
from diffuprompt.data.manifest import Item
from diffuprompt.engine import sent

__all__ = ["ImageBatch", "Loader", "Needs", "Pending", "View", "iterate"]

View = Callable[[Image.Image, Item], Tensor]
PREFETCH = 2  # batches, or pictures per worker, decoded ahead: bounds memory, hides decoding


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What of an image is read: nothing else has to be decoded or computed.

    Attributes:
        features: its prompt-free features.
        grid: what prompts in the image tower work on.
        second: prompt-free features of another random view.
        pooled: what the image tower's projection makes those features of.
    """

    features: bool = True
    grid: bool = False
    second: bool = False
    pooled: bool = False

    def __or__(self, other: Needs) -> Needs:
        """Return the needs of both."""
        return Needs(
            features=self.features or other.features,
            grid=self.grid or other.grid,
            second=self.second or other.second,
            pooled=self.pooled or other.pooled,
        )


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Images on their way to a tower.

    ``pixels`` is ``(B, 3, H, W)``, or None when only what was made of them travels; ``labels``
    ``(B,)`` int64, or None when unknown; ``index`` ``(B,)`` int64, the positions in the list of
    items; ``features`` ``(B, E)``, or None before the image tower has run; ``grid``
    ``(B, G, H, W)``, what the tower's stem makes of the pixels (for a plain ViT, the pixels);
    ``second`` ``(B, E)``, the prompt-free features of another random view; ``pooled`` ``(B, D)``,
    the image tower's prompt-free state before its projection.
    """

    pixels: Tensor | None
    labels: Tensor | None
    index: Tensor
    features: Tensor | None = None
    grid: Tensor | None = None
    second: Tensor | None = None
    pooled: Tensor | None = None

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
        return self._map(lambda tensor: sent(tensor, torch.device(device)))

    def select(self, index: Tensor | slice) -> ImageBatch:
        """Return some of the images: positions, a boolean mask or a slice within this batch."""
        return self._map(lambda tensor: tensor[index])


Decoded = Callable[[], Tensor]


@dataclass(frozen=True)
class _Begun:
    """A picture that a thread decodes."""

    future: Future[Tensor]

    def __call__(self) -> Tensor:
        return self.future.result()


class Pending:
    """Pictures on their way: decoded in threads, or when they are asked for."""

    def __init__(self, items: Sequence[Item], chunk: Sequence[int], pixels: list[Decoded]) -> None:
        self._items, self._chunk, self._pixels = items, chunk, pixels

    def result(self) -> ImageBatch:
        """Wait for them; raises the `DataError` of the first in order that cannot be opened."""
        try:
            pixels = [decoded() for decoded in self._pixels]
        except BaseException:
            self.cancel()
            raise
        labels = torch.tensor([self._items[p].label for p in self._chunk])
        return ImageBatch(torch.stack(pixels), labels, torch.tensor(list(self._chunk)))

    def cancel(self) -> None:
        """Give up those that no thread has begun."""
        for decoded in self._pixels:
            if isinstance(decoded, _Begun):
                decoded.future.cancel()


class Loader:
    """Decodes pictures in ``workers`` threads of its own, which live until it is closed.

    With 0 workers everything runs in the caller. Results do not depend on ``workers``: a ``view``
    makes ``(3, H, W)`` of a decoded image in any thread, so its randomness must come from the item,
    not from a shared generator. Use it as a context, or close it.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = max(workers, 0)
        self._pool = (
            ThreadPoolExecutor(self.workers, thread_name_prefix="images") if self.workers else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; what was not begun is given up."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(
        self, items: Sequence[Item], root: Path, view: View, positions: Sequence[int]
    ) -> Pending:
        """Begin with the pictures at ``positions`` of ``items``, one training step ahead.

        All are in flight at once, so memory is bounded by what the caller asks for ahead.
        """
        return Pending(items, positions, [self._begin(items, root, view, p) for p in positions])

    def iterate(
        self,
        items: Sequence[Item],
        root: Path,
        view: View,
        batch_size: int,
        *,
        order: Sequence[int] | None = None,
    ) -> Iterator[ImageBatch]:
        """Yield batches as the function `iterate` does.

        Beside the batch in use, two batches are decoded ahead, or two pictures per worker where
        that is more: all threads have work, and memory is bounded.
        """
        positions = range(len(items)) if order is None else order
        ahead = max(PREFETCH * batch_size, PREFETCH * self.workers) if self.workers else 0
        waiting: deque[Decoded] = deque()
        begun = 0
        try:
            for start in range(0, len(positions), batch_size):
                chunk = positions[start : start + batch_size]
                for position in positions[begun : start + len(chunk) + ahead]:
                    waiting.append(self._begin(items, root, view, position))
                    begun += 1
                yield Pending(items, chunk, [waiting.popleft() for _ in chunk]).result()
        finally:  # also when the caller stops early or an image fails
            Pending(items, (), list(waiting)).cancel()

    def _begin(self, items: Sequence[Item], root: Path, view: View, position: int) -> Decoded:
        item = items[position]

        def load() -> Tensor:
            return view(load_image(root / item.path), item)

        return _Begun(self._pool.submit(load)) if self._pool is not None else load


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
    holds those positions. The threads end with the iteration; a `Loader` keeps them.

    Raises the `DataError` of the first image in order that cannot be opened.
    """
    with Loader(workers) as loader:
        yield from loader.iterate(items, root, view, batch_size, order=order)
