"""Cross-validation inside the training images: which of them is held out when."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from diffuprompt.errors import DataError


def folds_of(labels: Sequence[int], folds: int) -> tuple[int | None, ...]:
    """Return for each image the fold that holds it out; None for one that always trains.

    Classes are spread over the folds as evenly as they can be, in the order of the images, each
    from another fold on. The only image of a class is never held out. Every class keeps an image to
    train on in every fold.

    Raises:
        DataError: no class has two images.
    """
    sizes = Counter(labels)
    if max(sizes.values(), default=0) < 2:
        raise DataError(
            f"{len(sizes)} classes with one training picture each leave none to compare methods "
            "on; give at least two pictures of some classes, better eight of each"
        )
    seen: dict[int, int] = defaultdict(int)
    out: list[int | None] = []
    for label in labels:
        out.append((seen[label] + label) % folds if sizes[label] > 1 else None)
        seen[label] += 1
    return tuple(out)
