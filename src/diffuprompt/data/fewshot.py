"""Few-shot subsets and base/new halves, exactly as the CoOp benchmark (Dassl) draws them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.errors import ConfigError, DataError

MAX_VAL_SHOTS = 4


def few_shot(manifest: Manifest, shots: int, seed: int) -> Manifest:
    """Draw ``shots`` train images and ``min(shots, 4)`` val images per class; test stays whole.

    Equal to Dassl's ``generate_fewshot_dataset`` under CoOp (arXiv 2109.01134): items are grouped
    by label in order of first appearance, each group is ``random.sample``d (or taken whole, in
    order, when it is smaller), train first and then val from one stream seeded with ``seed``.
    Draw from *all* classes and take `base_new` afterwards, or the subsets differ from the
    official ones. Raises `ConfigError` for ``shots < 1`` or a negative seed and `DataError` when
    there is nothing to draw from.
    """
    if shots < 1:
        raise ConfigError(f"shots: expected at least 1, got {shots}")
    if seed < 0:
        raise ConfigError(f"seed: expected 0 or more, got {seed}")
    if not manifest.splits["train"]:
        raise DataError(f"{manifest.root}: {manifest.name!r} has no train images to draw from")
    rng = random.Random(seed)  # the stream that random.seed(seed) gives
    train = _draw(manifest.splits["train"], shots, rng)
    val = _draw(manifest.splits["val"], min(shots, MAX_VAL_SHOTS), rng)
    splits = {"train": train, "val": val, "test": manifest.splits["test"]}
    return replace(manifest, splits=splits)


def _draw(items: Sequence[Item], k: int, rng: random.Random) -> tuple[Item, ...]:
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    drawn = (rng.sample(group, k) if len(group) >= k else group for group in groups.values())
    return tuple(item for group in drawn for item in group)


def base_new(manifest: Manifest) -> tuple[Manifest, Manifest]:
    """Return the first ``ceil(C / 2)`` classes (base) and the rest (new), each renumbered from 0.

    The halves of CoCoOp (arXiv 2203.05557): each is scored among its own names only. Raises
    `DataError` with fewer than two classes.
    """
    num = len(manifest.classes)
    if num < 2:
        raise DataError(f"{manifest.root}: base and new need at least two classes, got {num}")
    half = (num + 1) // 2
    return manifest.select(range(half)), manifest.select(range(half, num))
