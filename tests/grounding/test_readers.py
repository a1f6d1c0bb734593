"""Every layout of expressions about picture files is read as its miniature copy says."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest
from tests.grounding import layouts

from diffuprompt.data import VARIABLE
from diffuprompt.errors import DataError
from diffuprompt.grounding.worlds.flickr import parse_sentence
from diffuprompt.grounding.worlds.opening import open_expressions
from diffuprompt.grounding.worlds.roots import whole_caption


def opened(spec: Path, split: str, **options):
    return open_expressions(spec, split, roots=whole_caption, **options)


def test_refcoco(tmp_path: Path) -> None:
    found = opened(layouts.refer_folder(tmp_path), "val")
    assert [found[i].name for i in range(len(found))] == ["20", "21"]
    first, second = found[0], found[1]
    assert (first.text, second.text) == ("man on left", "caf\xe9 owner")
    assert first.box == (2.5, 1, 8.5, 7)
    assert first.picture == second.picture == "COCO_train2014_000000000002.jpg"
    assert (first.root, first.kind, found.size(0)) == ((0, 11), "", (10, 20))
    assert found.has_masks


@pytest.mark.parametrize(
    ("split", "names"),
    [("train", 1), ("testA", 3), ("testB", 4), ("test", 3)],
)
def test_splits_of_refcoco(tmp_path: Path, split: str, names: int) -> None:
    found = opened(layouts.refer_folder(tmp_path), split)
    assert found[0].name == f"{names}0"
    assert len(found) == (4 if split == "test" else 2)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_refcocog_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    refs, _ = layouts.refer_data()
    refs[2]["split"] = "test"
    folder = layouts.refer_folder(tmp_path)
    file = folder / "refs(umd).p"
    file.write_bytes(pickle.dumps(refs[:3], protocol))
    assert opened(file, "test")[1].text == "caf\xe9 owner"
    with pytest.raises(DataError, match=r"several sets .*refs\(umd\)\.p, refs\(unc\)\.p"):
        opened(folder, "test")
    with pytest.raises(DataError, match="no split 'testB'; there are train, val, test"):
        opened(file, "testB")


def test_mdetr(tmp_path: Path) -> None:
    layouts.picture(tmp_path / "train2014/COCO_train2014_1.jpg")
    file = layouts.written(tmp_path / "anns/finetune_refcoco_train.json", layouts.mdetr_data())
    found = opened(file.parent, "train")
    assert [found[i].root for i in range(2)] == [(0, 7), (0, 4)]
    assert [found[i].box for i in range(2)] == [(2, 1, 8, 7), (3, 1, 9, 7)]
    assert found[0].picture == found[1].picture
    assert not found.has_masks
    assert opened(tmp_path / "anns/finetune_refcoco_{split}.json", "train").content == found.content
    for wrong in (file, file.parent):
        with pytest.raises(DataError, match="no split 'val'"):
            opened(wrong, "val")


def test_several_spans_become_one_and_none_is_looked_for(tmp_path: Path) -> None:
    layouts.picture(tmp_path / "COCO_train2014_1.jpg")
    data = layouts.mdetr_data()
    data["annotations"][0]["tokens_positive"] = [[8, 12], [4, 7]]
    del data["annotations"][1]["tokens_positive"]
    file = layouts.written(tmp_path / "finetune_x_val.json", data)
    found = open_expressions(file, "val", roots=lambda _text: (1, 3))
    assert (found[0].root, found[1].root) == ((4, 12), (1, 3))


def test_flickr(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = opened(layouts.flickr_folder(tmp_path), "val")
    rows = [found[i] for i in range(len(found))]
    phrases = [(row.name, row.text[slice(*row.root)], row.kind) for row in rows]
    assert phrases == [
        ("36/0/0", "Two boys", "people"),
        ("36/0/1", "a ball", "other"),
        ("36/1/1", "the ball", "other"),
        ("36/1/2", "the boys", "people"),
    ]
    assert rows[0].text == "Two boys throw a ball in the park ."
    assert rows[0].box == rows[3].box == (0, 0, 12, 9)  # around both boys
    assert rows[1].box == (13, 1, 20, 10)
    assert {row.picture for row in rows} == {"36.jpg"}
    assert "1 entities have several boxes" in caplog.text
    with pytest.raises(DataError, match="no split 'test'; there are train, val"):
        opened(tmp_path, "test")


def test_a_sentence_of_entities() -> None:
    text, phrases = parse_sentence("A [b] [/EN#12/a/b c d] e")
    assert text == "A [b] c d e"
    assert [(p.entity, p.type, p.span) for p in phrases] == [("12", "a", (6, 9))]
    with pytest.raises(DataError, match="malformed mark"):
        parse_sentence("[/EN#12/people two boys throw [/EN#13/other a ball] .")


def test_a_users_own_file(tmp_path: Path) -> None:
    found = opened(layouts.user_file(tmp_path), "all")
    first = found[0]
    assert (first.name, first.picture, first.box) == ("10", "1.png", (2, 1, 8, 7))
    assert (first.text, first.root) == ("The red cup number 1.", (4, 11))
    assert (len(found), found.has_masks) == (3, True)


@pytest.mark.parametrize(
    ("caption", "root", "expected"),
    [
        ("a cupboard beside the cup", "cup", (22, 25)),
        ("a cupboard", "cup", (2, 5)),  # not every language sets spaces between words
        ("a red cup", [2, 9], (2, 9)),
    ],
)
def test_roots_that_annotations_give(tmp_path: Path, caption, root, expected) -> None:
    data = layouts.user_data(1)
    data["annotations"][0].update(caption=caption, root=root)
    assert opened(layouts.user_file(tmp_path, data), "all")[0].root == expected


def test_a_users_own_files_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = layouts.user_file(tmp_path / "mine")
    file.rename(tmp_path / "mine/train.json")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert len(opened(Path("mine"), "train")) == 3
    with pytest.raises(DataError, match=r"no expressions of split 'val' found; expected one of\n"):
        opened(Path("mine"), "val")


def test_pictures_elsewhere(tmp_path: Path) -> None:
    file = layouts.user_file(tmp_path / "pictures")
    there = file.rename(tmp_path / "mine.json")
    with pytest.raises(DataError, match=r"3 problem.*\n  annotation 10: .*1\.png.*not found"):
        opened(there, "all")
    found = opened(there, "all", pictures=tmp_path / "pictures")
    assert found[0].text[slice(*found[0].root)].lower() == "red cup"


def test_pictures_are_dealt_to_splits(tmp_path: Path) -> None:
    file = layouts.user_file(tmp_path, layouts.user_data(20))
    parts = {split: opened(file, split) for split in ("train", "val", "test", "all")}
    names = {split: {p[i].picture for i in range(len(p))} for split, p in parts.items()}
    assert [len(names[split]) for split in parts] == [16, 2, 2, 20]
    assert names["train"] | names["val"] | names["test"] == names["all"]
    data = layouts.user_data(20)
    data["images"].reverse()
    again = opened(layouts.written(file, data), "test")
    assert {again[i].picture for i in range(2)} == names["test"]


def test_splits_that_images_name(tmp_path: Path) -> None:
    data = layouts.user_data()
    for image, split in zip(data["images"], ("train", "test", "train"), strict=True):
        image["split"] = split
    file = layouts.user_file(tmp_path, data)
    assert [len(opened(file, split)) for split in ("train", "test", "all")] == [2, 1, 3]
    with pytest.raises(DataError, match="no split 'val'; there are train, test, all"):
        opened(file, "val")
    data["images"][0]["split"] = "trian"
    del data["images"][2]["split"]
    with pytest.raises(DataError) as caught:
        opened(layouts.written(file, data), "test")
    assert "image 1: split 'trian'; expected one of train, val, test" in str(caught.value)
    assert "image 3: split None" in str(caught.value)


def test_what_is_no_set_of_expressions(tmp_path: Path) -> None:
    for name in ("nowhere", "x" * 5000, "a\0b"):
        with pytest.raises(DataError, match=r"(?s)expected one of\n.*RefCOCO.*MDETR"):
            opened(Path(name), "train")
    with pytest.raises(DataError, match=r"no split 'tets'; there are .*Did you mean 'test'"):
        opened(tmp_path, "tets")
    with pytest.raises(DataError, match="not known by its name"):
        opened(layouts.picture(tmp_path / "a.png"), "train")
    for wrong in ([], {"images": []}, {"annotations": [], "images": {}}):
        file = layouts.written(tmp_path / "wrong.json", json.dumps(wrong))
        with pytest.raises(DataError, match=r'wrong\.json: no list "(images|annotations)"'):
            opened(file, "all")
    file = layouts.written(tmp_path / "wrong.json", {"images": [], "annotations": []})
    with pytest.raises(DataError, match="no expressions of this split"):
        opened(file, "all")
