"""Which images a protocol trains on and tests on; no label or picture is looked at here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffuprompt.data.fewshot import base_new
from diffuprompt.data.manifest import Item, Manifest, Split
from diffuprompt.errors import DataError

Subset = Literal["base", "new", "all"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images with labels among ``classes``."""

    items: tuple[Item, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Training images, and test images a subset."""

    train: Part
    tests: dict[Subset, Part]


def split_by_protocol(
    protocol: Literal["base-to-new", "few-shot", "holdout"], manifest: Manifest, chosen: Manifest
) -> Parts:
    """Return the parts of ``manifest`` whose few-shot selection is ``chosen``.

    Settings are chosen with "holdout": half of the base classes play the new ones. Its test images
    are all val images, and for the classes that play the new ones their training images too, which
    nothing is trained on. Neither a new class nor a test image is seen.

    Raises:
        DataError: a part has fewer than two classes, or "holdout" finds a class without val images.
    """
    tests: dict[Subset, Part]
    if protocol == "holdout":
        base, _ = base_new(base_new(chosen)[0])
        old, new = base_new(base_new(manifest)[0].check(needs=("train", "val")))
        train = _part(base, "train")
        tests = {"base": _part(old, "val"), "new": _part(new, "val", "train")}
    elif protocol == "base-to-new":
        base, new = base_new(chosen)
        train = _part(base, "train")
        tests = {"base": _part(base, "test"), "new": _part(new, "test")}
    else:
        train, tests = _part(chosen, "train"), {"all": _part(chosen, "test")}
    alone = [f"{s} has {list(part.classes)}" for s, part in tests.items() if len(part.classes) < 2]
    if alone:
        raise DataError(
            f"{manifest.root}: {len(manifest.classes)} classes are too few for the protocol "
            f"{protocol}: {' and '.join(alone)}, which leaves nothing to tell apart; "
            "use --protocol few-shot, or add classes"
        )
    return Parts(train=train, tests=tests)


def _part(manifest: Manifest, *splits: Split) -> Part:
    items = tuple(item for split in splits for item in manifest.splits[split])
    return Part(items=items, classes=manifest.classes)
