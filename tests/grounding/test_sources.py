"""Which expressions a job reads: worlds and files by name, what is held back for the prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.grounding.own_pictures import own_pictures

from diffuprompt.engine import NULL
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.jobs.grounding.data import Source
from diffuprompt.runs import Store


def source(data: str, folder: Path) -> Source:
    return Source(data=data, root=None, store=Store(folder / "stages"), workers=0, progress=NULL)


@pytest.fixture
def cups(tmp_path: Path) -> Source:
    return source(str(own_pictures(tmp_path / "cups")), tmp_path)


def test_made_worlds_are_known_without_making_them(tmp_path: Path) -> None:
    scenes = source("scenes", tmp_path)
    assert scenes.is_made
    assert scenes.name == "scenes"
    usual, held_out = scenes.test("scenes", count=0), scenes.test("scenes/held-out looks", count=0)
    assert usual.stage is not None
    assert (usual.stage.config["domain"], usual.stage.config["count"]) == ("usual", 2400)
    assert held_out.stage is not None
    assert held_out.stage.config["domain"] == "held-out"
    assert held_out.name == "scenes/held-out looks"
    names = [usual, held_out, scenes.test("scenes/sketch", count=0), scenes.test("crowds", count=0)]
    names += [scenes.test("crowds", count=9), scenes.split("train", seed=1, count=9)]
    names += [scenes.split("train", seed=2, count=9)]
    assert len({one.content for one in names}) == len(names)
    val = scenes.test("scenes/val", count=0)
    assert val.stage is not None
    assert (val.stage.config["split"], val.name) == ("val", "scenes/val")
    assert not (tmp_path / "stages").exists()


def test_training_may_be_of_one_domain(tmp_path: Path) -> None:
    collages = source("collages", tmp_path)
    sketch = source("scenes", tmp_path).split("train", seed=1, count=0, domain="sketch")
    assert sketch.stage is not None
    assert (sketch.stage.config["domain"], sketch.stage.config["count"]) == ("sketch", 20_000)
    for found, domain, said in (
        (collages, "bases", "expected one of .'base', 'new'. for collages, got 'bases'"),
        (source("scenes", tmp_path), "held-out looks", "expressions.domain: expected one of"),
        (source("crowds", tmp_path), "base", "crowds has no domains"),
        (source(str(tmp_path), tmp_path), "base", "has no domains, got 'base'"),
    ):
        with pytest.raises(ConfigError, match=said):
            found.split("train", seed=1, count=0, domain=domain)


@pytest.mark.parametrize(
    "name",
    [
        "scene",
        "scenes/held-out",
        "crowds/sketch",
        "testA",
        "scenes/usual",
        "scenes/",
        "scenes/usually",
        "",
    ],
)
def test_an_unknown_test_set_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="test: expected one of"):
        source("scenes", tmp_path).test(name, count=0)


def test_files_have_splits(cups: Source) -> None:
    assert not cups.is_made
    assert cups.name == "cups"
    train = cups.split("train", seed=1, count=0)
    assert (len(train.expressions), len(cups.test("test", count=0).expressions)) == (12, 4)
    few = cups.split("train", seed=1, count=5)
    assert len(few.expressions) == 5
    assert len(cups.split("train", seed=1, count=500).expressions) == 12
    assert few.content != train.content
    assert cups.split("train", seed=2, count=0).content == train.content
    assert train.expressions.has_masks
    with pytest.raises(ConfigError, match="testA"):
        cups.test("crowds", count=0)
    with pytest.raises(DataError, match="no split 'testA'"):
        _ = cups.test("testA", count=0).expressions


def test_the_last_are_held_back_and_a_quarter_at_most(cups: Source) -> None:
    whole = cups.split("train", seed=1, count=0)
    for held, cut in ((2, 10), (3, 9), (4000, 9)):
        most, rest = whole.halves(held)
        assert (len(most.expressions), len(rest.expressions)) == (cut, 12 - cut)
        assert rest.expressions[0] == whole.expressions[cut]
        assert most.content != rest.content
    most, rest = whole.halves(0)
    assert len(most.expressions) == len(rest.expressions) == 12
    assert most.content == rest.content
    three = cups.split("train", seed=1, count=3).halves(4000)
    assert [len(one.expressions) for one in three] == [3, 3]
    batch = whole.halves(2)[1].expressions.batch([1], 16)
    assert torch.equal(batch.boxes, whole.expressions.batch([11], 16).boxes)
