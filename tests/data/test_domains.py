"""``domain/class/picture``: some domains train, of the others every picture is tested."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.world import IMAGES, make_pictures

from diffuprompt.data.domains import domain_names, open_domains
from diffuprompt.errors import ConfigError, DataError

FOUR = ("blue_sky", "green", "red", "white")


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three domains; "pen" lacks a class."""
    folder = tmp_path_factory.mktemp("domains") / "styles"
    for seed, domain in enumerate(("ink", "oil", "pen")):
        make_pictures(folder / domain, FOUR[: 3 if domain == "pen" else 4], seed=seed)
    return folder


def test_training_domains_are_pooled_and_split_and_others_are_whole(styles: Path) -> None:
    source, targets = open_domains(styles, ["oil", "ink"])
    assert (source.name, [t.name for t in targets]) == ("styles-ink+oil", ["styles-pen"])
    source.check(needs=("train", "test"))
    (pen,) = targets
    pen.check(needs=())
    assert source.classes == pen.classes == FOUR
    assert [len(items) for items in pen.splits.values()] == [0, 0, 3 * IMAGES]
    every = [i for m in (source, pen) for items in m.splits.values() for i in items]
    counted = Counter(item.path for item in every)
    assert set(counted.values()) == {1}
    assert counted.keys() == {p.relative_to(styles).as_posix() for p in styles.rglob("*.png")}
    assert all(FOUR[item.label] == item.path.split("/")[1] for item in every)
    for domain in ("ink", "oil"):  # held-out pictures are those of a class folder's own split
        alone, _ = open_domains(styles, [domain])
        mine = {i.path for i in source.splits["test"] if i.path.startswith(domain)}
        assert {i.path for i in alone.splits["test"]} == mine


def test_without_training_domains_all_are_one_data_set(styles: Path) -> None:
    source, targets = open_domains(styles, [])
    assert (source.name, targets) == ("styles", ())
    assert sum(map(len, source.splits.values())) == 11 * IMAGES


def test_a_class_that_no_training_domain_has_is_named(styles: Path) -> None:
    source, _ = open_domains(styles, ["pen"])
    with pytest.raises(DataError, match="class 'white' has no image in train"):
        source.check(needs=("train", "test"))


def test_what_is_no_such_layout_is_refused(styles: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train_domains: .*Did you mean 'oil'\?"):
        open_domains(styles, ["oill"])
    (tmp_path / "one" / "ink").mkdir(parents=True)
    with pytest.raises(DataError, match="at least two domains"):
        domain_names(tmp_path / "one")
    with pytest.raises(DataError, match=r"outside any domain, e\.g\. 0\.png"):
        domain_names(styles / "ink" / "red")
    with pytest.raises(DataError, match="one sub folder per domain"):
        domain_names(styles / "ink" / "red" / "0.png")
