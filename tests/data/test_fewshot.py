"""Few-shot subsets against a literal re-implementation of the benchmark's sampling."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from pathlib import Path

import pytest

from diffuprompt.data.fewshot import base_new, few_shot
from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.data.splitfile import read_split_file
from diffuprompt.errors import ConfigError, DataError

PINNED = [
    *("train/1/1.jpg", "train/1/6.jpg"),
    *("train/0/7.jpg", "train/0/2.jpg"),
    *("train/2/0.jpg", "train/2/3.jpg"),
]
SIZES = {"train": 9, "val": 5, "test": 3}


def toy(num_classes: int) -> Manifest:
    """Classes of unequal size whose first appearance is not in label order."""
    shuffle = random.Random(0)
    splits = {}
    for split, size in SIZES.items():
        items = [
            Item(f"{split}/{label}/{i}.jpg", label)
            for label in range(num_classes)
            for i in range(max(1, size - label % 7))
        ]
        shuffle.shuffle(items)
        splits[split] = tuple(items)
    return Manifest("toy", Path(), tuple(f"class {i}" for i in range(num_classes)), splits)


def dassl(manifest: Manifest, shots: int, seed: int) -> list[list[Item]]:
    """What the benchmark's code does, step by step, with the global generator."""
    before = random.getstate()
    random.seed(seed)
    output = []
    for split, k in (("train", shots), ("val", min(shots, 4))):
        tracker = defaultdict(list)
        for item in manifest.splits[split]:
            tracker[item.label].append(item)
        dataset = []
        for items in tracker.values():
            dataset.extend(random.sample(items, k) if len(items) >= k else items)
        output.append(dataset)
    random.setstate(before)
    return output


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16])
def test_subsets_are_the_benchmarks(shots: int, seed: int) -> None:
    manifest = toy(11)
    drawn = few_shot(manifest, shots, seed)
    train, val = dassl(manifest, shots, seed)
    assert list(drawn.splits["train"]) == train
    assert list(drawn.splits["val"]) == val
    assert drawn.splits["test"] == manifest.splits["test"]


def test_subsets_stay_the_same_across_python_versions() -> None:
    # the stream of random.sample is part of the benchmark: a change must not pass unseen
    drawn = few_shot(toy(3), 2, 1)
    assert [item.path for item in drawn.splits["train"]] == PINNED


def test_the_global_generator_is_left_alone() -> None:
    before = random.getstate()
    few_shot(toy(5), 4, 1)
    assert random.getstate() == before


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="shots: expected at least 1, got 0"):
        few_shot(toy(3), 0, 1)
    with pytest.raises(ConfigError, match="seed"):
        few_shot(toy(3), 1, -1)
    with pytest.raises(DataError, match="no train images"):
        few_shot(Manifest("empty", Path(), ("a", "b"), {}), 1, 1)


@pytest.mark.parametrize(
    ("num", "base", "new"), [(47, 24, 23), (37, 19, 18), (397, 199, 198), (10, 5, 5)]
)
def test_halves_of_odd_class_counts(num: int, base: int, new: int) -> None:
    manifest = toy(num)
    first, second = base_new(manifest)
    assert (len(first.classes), len(second.classes)) == (base, new)
    assert base == math.ceil(num / 2)
    assert first.classes + second.classes == manifest.classes
    for half, shift in ((first, 0), (second, base)):
        for split, items in half.splits.items():
            labels = range(shift, shift + len(half.classes))
            kept = [i for i in manifest.splits[split] if i.label in labels]
            assert [(i.path, i.label + shift) for i in items] == [(i.path, i.label) for i in kept]


def test_halves_need_two_classes() -> None:
    with pytest.raises(DataError, match="at least two"):
        base_new(toy(1))


def test_caltech_subsets_are_official(shared_data: Path) -> None:
    manifest = read_split_file(shared_data / "coop-splits" / "split_zhou_Caltech101.json")
    base, new = base_new(few_shot(manifest, 16, 1))
    train, _ = dassl(manifest, 16, 1)
    assert [i.path for i in base.splits["train"]] == [i.path for i in train if i.label < 50]
    assert len(base.splits["train"]) == len(new.splits["train"]) == 800
    assert len(base.splits["test"]) + len(new.splits["test"]) == 2465


@pytest.mark.parametrize("name", ["OxfordFlowers", "StanfordCars"])
def test_groups_follow_first_appearance_not_label(shared_data: Path, name: str) -> None:
    manifest = read_split_file(shared_data / "coop-splits" / f"split_zhou_{name}.json")
    drawn = few_shot(manifest, 4, 2)
    train, val = dassl(manifest, 4, 2)
    assert train[0].label != 0  # these files are not in label order, so the test can fail
    assert (list(drawn.splits["train"]), list(drawn.splits["val"])) == (train, val)
