"""Cross-validation inside the training images: which of them is held out when."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffuprompt.errors import DataError
from diffuprompt.jobs.prepared import Prepared, image_set
from diffuprompt.learners import Classes
from diffuprompt.protocols import Roles, Selection
from diffuprompt.stages import Bench, ImagePart, part_of, scoring_key, training_key


def folds_of(labels: Sequence[int], folds: int) -> tuple[int | None, ...]:
    """Return for each image the fold that holds it out; None for one that always trains.

    Classes are spread over the folds as evenly as they can be, in the order of the images, each
    from another fold on. The only image of a class is never held out. Every class keeps an image to
    train on in every fold. Folds count from 0; with few images there are fewer than ``folds``, but
    none is empty.

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
    used = {fold: i for i, fold in enumerate(sorted({fold for fold in out if fold is not None}))}
    return tuple(None if fold is None else used[fold] for fold in out)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fold:
    """A job on some of its training images, with the others held out.

    Attributes:
        prepared: the job; its chain is of these images.
        bench: what its stages compute with.
        held: the images that are held out, among all names.
        content: hash of these pictures, labels and names.
        positions: of the held-out images among all training images.
    """

    prepared: Prepared
    bench: Bench
    held: ImagePart
    content: str
    positions: tuple[int, ...]


def hold_out(prepared: Prepared, bench: Bench, held: Sequence[int]) -> Fold:
    """Return a job without the training images at ``held``.

    ``bench`` has all training images; features of the fold are theirs.
    """
    whole, images, out = prepared.roles.train, bench.train, set(held)
    rest = [p for p in range(len(whole.items)) if p not in out]
    hashes = images.store.hashes(images.items)
    train = Selection(items=tuple(whole.items[p] for p in rest), classes=whole.classes)
    test = Selection(items=tuple(whole.items[p] for p in held), classes=whole.classes)
    inputs = {**prepared.inputs, "images": training_key(train, [hashes[p] for p in rest])}
    names = image_set(train, images.store, prepared.sentences).classes
    return Fold(
        prepared=replace(prepared, roles=Roles(train=train, tests={}), inputs=inputs),
        bench=replace(bench, train=part_of(images, rest, names)),
        held=part_of(images, held, Classes(names.names)),
        content=scoring_key(test, [hashes[p] for p in held]),
        positions=tuple(held),
    )
