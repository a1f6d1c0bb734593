"""Folds: every image once, classes spread evenly, a single image never held out."""

from __future__ import annotations

from collections import Counter

import pytest

from diffuprompt.errors import DataError
from diffuprompt.jobs.folds import folds_of

LABELS = [0, 1, 2, 0, 1, 0, 3, 0, 1, 0, 0, 3]  # six, three, one and two images


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_every_class_trains_in_every_fold_and_is_spread_evenly(folds: int) -> None:
    found = folds_of(LABELS, folds)
    sizes = Counter(LABELS)
    for label, size in sizes.items():
        held = Counter(f for f, of in zip(found, LABELS, strict=True) if of == label)
        if size == 1:
            assert held == {None: 1}
            continue
        counts = [held[fold] for fold in range(folds)]
        assert sum(counts) == size
        assert max(counts) - min(counts) <= 1
        assert max(counts) < size


def test_no_fold_is_empty() -> None:
    assert set(folds_of([0, 1, 1, 2], 9)) == {None, 0, 1}


def test_pictures_of_one_each_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match=r"3 classes with one training picture each.*at least two"):
        folds_of([0, 1, 2], 4)
