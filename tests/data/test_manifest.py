"""The manifest's identity (hash, JSON, select) and its structural checks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from diffuprompt.data.class_names import prompt_name
from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.errors import DataError


def make(root: Path, classes: tuple[str, ...] = ("cat", "dog", "owl")) -> Manifest:
    splits = {
        split: tuple(Item(f"{split}/{name}.png", i) for i, name in enumerate(classes))
        for split in ("train", "test")
    }
    for items in splits.values():
        for item in items:
            file = root / item.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
    return Manifest("toy", root, classes, splits)


def test_hash_ignores_the_root_and_sees_everything_else(tmp_path: Path) -> None:
    manifest = make(tmp_path)
    assert len(manifest.hash) == 16
    assert replace(manifest, root=Path("elsewhere"), name="other").hash == manifest.hash
    train, test = manifest.splits["train"], manifest.splits["test"]
    changed = [
        replace(manifest, classes=("cat", "dog", "bat")),
        replace(manifest, splits={"train": test, "test": train}),
        replace(manifest, splits={"train": train[::-1], "test": test}),
        replace(manifest, splits={"train": (Item(train[0].path, 1), *train[1:]), "test": test}),
    ]
    assert len({manifest.hash, *(other.hash for other in changed)}) == 5


def test_json_round_trip_holds_no_local_path(tmp_path: Path) -> None:
    manifest = make(tmp_path)
    text = json.dumps(manifest.to_json())
    assert str(tmp_path) not in text
    assert Manifest.from_json(json.loads(text), tmp_path) == manifest


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"schema": "other/1"},
        {"schema": "diffuprompt.manifest/1"},
        {"schema": "diffuprompt.manifest/1", "name": "a", "classes": [], "splits": {"tset": []}},
        {"schema": "diffuprompt.manifest/1", "name": "a", "classes": [], "splits": {"test": [1]}},
    ],
)
def test_malformed_json_is_a_data_error(data: object, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        Manifest.from_json(data, tmp_path)


def test_select_renumbers_in_the_order_given(tmp_path: Path) -> None:
    chosen = make(tmp_path).select([2, 0])
    assert chosen.classes == ("owl", "cat")
    assert chosen.splits["train"] == (Item("train/cat.png", 1), Item("train/owl.png", 0))
    with pytest.raises(DataError, match="distinct labels"):
        chosen.select([2])
    with pytest.raises(DataError, match="distinct labels"):
        chosen.select([0, 0])


def test_a_sound_manifest_has_no_problem(tmp_path: Path) -> None:
    manifest = make(tmp_path)
    assert manifest.problems() == []
    assert manifest.check() is manifest


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    manifest = make(tmp_path, ("Sea_lion", "sea lion", "owl"))
    (tmp_path / "test/owl.png").unlink()
    train = (*manifest.splits["train"][:2], Item("test/Sea_lion.png", 7))
    manifest = replace(manifest, splits={**manifest.splits, "train": train})
    with pytest.raises(DataError) as caught:
        manifest.check()
    for part in (
        "5 problem(s)",
        "'Sea_lion', 'sea lion' become the same prompt text",
        "class 'owl' has no image in train",
        "label 7 in train is not in 0..2",
        "test/Sea_lion.png: listed twice, in train and in test",
        f"{tmp_path / 'test/owl.png'}: file not found",
    ):
        assert part in str(caught.value)


def test_one_class_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two classes"):
        make(tmp_path, ("cat",)).check()


def test_needs_says_which_split_must_be_complete(tmp_path: Path) -> None:
    manifest = make(tmp_path)
    test_only = replace(manifest, splits={"test": manifest.splits["test"]})
    assert test_only.problems(("test",)) == []
    assert len(test_only.problems(("train",))) == 3


def test_long_lists_of_problems_are_cut_and_counted(tmp_path: Path) -> None:
    manifest = Manifest("toy", tmp_path, tuple(f"c{i}" for i in range(50)), {})
    with pytest.raises(DataError, match=r"50 problem\(s\)(.|\n)*and 30 more"):
        manifest.check()


def test_prompt_name_is_what_the_tokeniser_tells_apart() -> None:
    assert prompt_name("Sea__Lion ") == prompt_name("sea lion") != prompt_name("sealion")
