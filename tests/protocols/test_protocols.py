"""Every protocol tests every image that it says it tests exactly once, among the right names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from diffuprompt.data.fewshot import few_shot
from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.protocols.registry import PROTOCOLS, find_protocol, roles_of
from diffuprompt.protocols.roles import Selection
from diffuprompt.record import SUBSETS

NAMES = tuple("abcdefghi")
MOST = 4  # pictures of a class in a split


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file for every picture there can be; hold-out looks whether they exist."""
    folder = tmp_path_factory.mktemp("letters")
    for split in ("train", "val", "test"):
        for c in range(len(NAMES)):
            (folder / split / str(c)).mkdir(parents=True)
            for i in range(MOST):
                (folder / split / str(c) / str(i)).touch()
    return folder


def data(classes: int, per_class: int, root: Path = Path("letters")) -> Manifest:
    """Return a data set of so many letters, each with as many pictures in every split."""
    splits = {
        split: tuple(Item(f"{split}/{c}/{i}", c) for i in range(per_class) for c in range(classes))
        for split in ("train", "val", "test")
    }
    return Manifest("letters", root, NAMES[:classes], splits)


def named(selection: Selection) -> dict[str, str]:
    """Return the name that each picture has by its label."""
    counted = Counter(item.path for item in selection.items)
    assert set(counted.values()) <= {1}
    return {item.path: selection.classes[item.label] for item in selection.items}


@settings(max_examples=30, deadline=None)
@given(
    protocol=st.sampled_from(sorted(PROTOCOLS)),
    classes=st.integers(7, 9),
    per_class=st.integers(1, MOST),
    shots=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_every_test_image_counts_once_and_none_is_trained_on(
    root: Path, protocol: str, classes: int, per_class: int, shots: int, seed: int
) -> None:
    manifest = data(classes, per_class, root)
    roles = roles_of(protocol, manifest, few_shot(manifest, shots, seed))
    truth = {i.path: NAMES[i.label] for items in manifest.splits.values() for i in items}
    tested: dict[str, str] = {}
    for part in roles.tests.values():
        found = named(part)
        assert not found.keys() & tested.keys()
        tested |= found
    assert tested.items() <= truth.items()
    if protocol != "holdout":  # which never sees a test image
        assert tested.keys() == {item.path for item in manifest.splits["test"]}
    else:
        assert not tested.keys() & {item.path for item in manifest.splits["test"]}
    trained = named(roles.train)
    assert trained.items() <= truth.items()
    assert not trained.keys() & tested.keys()
    both = roles.open_world
    if protocol in ("base-to-new", "holdout"):
        assert both is not None
        assert named(both) == tested
        base = roles.tests["base"]
        assert both.classes[: len(base.classes)] == base.classes
        assert both.items[: len(base.items)] == base.items
    else:
        assert both is None


def test_a_layout_is_of_what_a_protocol_tests(root: Path) -> None:
    manifest = data(7, 2, root)
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        tests = roles_of(name, manifest, few_shot(manifest, 1, 1)).tests
        assert protocol.layout.own == tuple(tests)
        assert set(protocol.layout.harmonic) <= set(protocol.layout.own) <= set(SUBSETS)
        assert protocol.layout.targets == (protocol.scope != "own")
    assert find_protocol("few-shot").layout.shots == (1, 2, 4, 8, 16)
    assert len(find_protocol("cross-dataset").defaults["imagenet"]) == 10
    assert len(find_protocol("domain").defaults["imagenet"]) == 4


def test_a_transfer_needs_targets_and_domains_need_the_same_names() -> None:
    source = data(4, 1)
    cross, domain = find_protocol("cross-dataset"), find_protocol("domain")
    assert find_protocol("few-shot").misfits(source, {}) == []
    assert cross.misfits(source, {"other": ("x", "y")}) == []
    assert "--test-data (known for imagenet)" in cross.misfits(source, {})[0]
    assert domain.misfits(source, {"some": ("d", "b")}) == []  # as ImageNet-A: some of the names
    (problem,) = domain.misfits(source, {"other": ("a", "x", "y")})
    assert "other has 2 class(es) that 'letters' does not have, such as 'x'" in problem


def test_wrong_names_and_too_few_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'cross-dataset'\?"):
        find_protocol("crossdataset")
    with pytest.raises(DataError, match="nothing to tell apart"):
        roles_of("base-to-new", data(3, 1), few_shot(data(3, 1), 1, 1))
