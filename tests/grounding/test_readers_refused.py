"""A malformed annotation is refused with its id, and with everything else that is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.grounding import layouts

from diffuprompt.errors import DataError
from diffuprompt.grounding.worlds.opening import open_expressions
from diffuprompt.grounding.worlds.roots import whole_caption

POLYGON = layouts.POLYGON


def refusal(spec: Path, split: str) -> str:
    with pytest.raises(DataError) as caught:
        open_expressions(spec, split, roots=whole_caption)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("bbox", [2, 1, 0, 6], "box from (2, 1) to (2, 7) is empty"),
        ("bbox", [2, 1, 6, -1], "box from (2, 1) to (8, 0) is empty"),
        ("bbox", [30, 1, 6, 6], "lies outside the picture of 20 x 10 pixels"),
        ("bbox", [2, 1, 19.5, 6], "lies outside the picture of 20 x 10 pixels"),
        ("bbox", [-0.9, 1, 0.8, 6], "lies outside the picture of 20 x 10 pixels"),
        ("bbox", [2, 1, 6], "bbox [2, 1, 6]; expected four numbers"),
        ("bbox", [2, 1, "6", 6], "expected four numbers"),
        ("bbox", [2, 1, True, 6], "expected four numbers"),
        ("bbox", [2, 1, 10**400, 6], "expected four numbers"),
        ("bbox", None, "bbox None; expected four numbers"),
        ("caption", "", "caption '' is empty"),
        ("caption", " ?! ", "caption ' ?! ' is empty"),
        ("caption", None, "caption None; expected a text"),
        ("caption", ["a"], "caption ['a']; expected a text"),
        ("root", "green cup", "root 'green cup' of caption 'The red cup number 2.'"),
        ("root", "", "root ''"),
        ("root", [4, 99], "root [4, 99]"),
        ("root", [4, 4], "root [4, 4]"),
        ("root", [3, 4], "root [3, 4]"),
        ("root", [0.0, 4], "root [0.0, 4]"),
        ("root", {}, "root {}"),
        ("image_id", 9, "unknown image_id '9'"),
        ("image_id", None, "unknown image_id"),
        ("segmentation", [[0, 0, 5, 5]], "a polygon of 2 points"),
        ("segmentation", {"size": [1, 2], "counts": []}, "the segmentation has size [1, 2]"),
        ("segmentation", 7, "neither a list of polygons"),
    ],
)
def test_a_field_is_wrong(tmp_path: Path, field: str, value: Any, problem: str) -> None:
    data = layouts.user_data()
    data["annotations"][1][field] = value
    told = refusal(layouts.user_file(tmp_path, data), "all")
    assert "mine.json: 1 problem(s)" in told
    assert "\n  annotation 20: " in told
    assert problem in told


@pytest.mark.parametrize("field", ["bbox", "caption", "image_id"])
def test_a_field_is_missing(tmp_path: Path, field: str) -> None:
    data = layouts.user_data()
    del data["annotations"][1][field]
    assert "annotation 20: " in refusal(layouts.user_file(tmp_path, data), "all")


@pytest.mark.parametrize("key", ["images", "annotations"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, ": its id is None; expected a whole number or a text"),
        (1.5, ": its id is 1.5"),
        (True, ": its id is True"),
        ("x" * 1000, ": its id is 'xxx"),
    ],
)
def test_an_id_is_wrong(tmp_path: Path, key: str, value: Any, problem: str) -> None:
    data = layouts.user_data()
    data[key][0]["id"] = value
    assert f"{key[:-1]}{problem}" in refusal(layouts.user_file(tmp_path, data), "all")


def test_ids_stand_twice(tmp_path: Path) -> None:
    data = layouts.user_data()
    data["annotations"][2]["id"] = "10"
    data["images"][2]["id"] = 1
    told = refusal(layouts.user_file(tmp_path, data), "all")
    assert "annotation 10: its id stands twice" in told
    assert "image 1: its id stands twice" in told


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_picture(path: Path) -> None:
    path.write_text("hello")


@pytest.mark.parametrize("spoil", [missing, empty, no_picture])
def test_a_picture_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    file = layouts.user_file(tmp_path)
    spoil(tmp_path / "2.png")
    told = refusal(file, "all")
    assert "1 problem(s)" in told
    assert f"annotation 20: {tmp_path / '2.png'}: " in told


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b.png", "a\0.png", "", None, 7])
def test_a_picture_has_no_good_name(tmp_path: Path, name: Any) -> None:
    data = layouts.user_data()
    file = layouts.user_file(tmp_path, data)
    data["images"][1]["file_name"] = name
    told = refusal(layouts.written(file, data), "all")
    assert "annotation 20: " in told
    assert "no path below the folder" in told or "expected a file name" in told


def test_a_picture_has_another_size(tmp_path: Path) -> None:
    data = layouts.user_data()
    data["images"][1].update(height=20, width=10)
    told = refusal(layouts.user_file(tmp_path, data), "all")
    assert "annotation 20: height 20, and" in told
    assert "annotation 20: width 10, and" in told


def test_some_have_masks_and_some_have_none(tmp_path: Path) -> None:
    data = layouts.user_data()
    del data["annotations"][1]["segmentation"]
    told = refusal(layouts.user_file(tmp_path, data), "all")
    assert "1 of 3 annotations have no segmentation: 20; give each of them one" in told


def test_all_problems_at_once(tmp_path: Path) -> None:
    data = layouts.user_data(2000)
    data["images"], common = data["images"][:1], data["annotations"][1:]
    layouts.user_file(tmp_path, {**data, "annotations": []})
    for rows, total in ((common[:20], "20"), (common, "1000")):
        told = refusal(layouts.written(tmp_path / "m.json", {**data, "annotations": rows}), "all")
        assert f"m.json: {total} problem(s)" in told
        assert told.count("unknown image_id") == 12
        assert told.endswith(f"... and {int(total) - 12} more")
    data["annotations"] = [{**data["annotations"][0], "bbox": 1, "caption": 2, "segmentation": 3}]
    told = refusal(layouts.written(tmp_path / "m.json", data), "all")
    assert told.count("annotation 10: ") == 3


def test_rounding_is_cut_off(tmp_path: Path) -> None:
    data = layouts.user_data()
    data["annotations"][1]["bbox"] = [-0.5, 1, 21.25, 9.001]
    file = layouts.user_file(tmp_path, data)
    found = open_expressions(file, "all", roots=whole_caption)
    assert found[1].box == (0, 1, 20, 10)


@pytest.mark.parametrize("text", ["{", "[NaN]", '{"images": [], "images": []}', "[" * 1000])
def test_what_is_no_json(tmp_path: Path, text: str) -> None:
    assert "mine.json: " in refusal(layouts.written(tmp_path / "mine.json", text), "all")


def spoilt_ref(index: int = 1, **fields: Any) -> Callable[[Any, Any], None]:
    return lambda refs, _instances: refs[index].update(fields)


def spoilt_row(**fields: Any) -> Callable[[Any, Any], None]:
    return lambda _refs, instances: instances["annotations"][1].update(fields)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (spoilt_ref(ann_id=9), "ref 14: unknown ann_id 9"),
        (spoilt_ref(ann_id=[]), "ref 14: unknown ann_id []"),
        (spoilt_ref(image_id=9), "ref 14: unknown image_id 9"),
        (spoilt_ref(ann_id=101), "ref 14: its annotation is of another image, 1"),
        (spoilt_ref(sentences=[]), "ref 14: it has no list of sentences"),
        (spoilt_ref(sentences=["a"]), "ref 14, sentence: its id is None"),
        (spoilt_ref(sentences=[{"sent_id": 3, "sent": ""}]), "ref 14, sentence 3: caption ''"),
        (spoilt_ref(sentences=[{"sent_id": 3}]), "ref 14, sentence 3: caption None"),
        (spoilt_ref(ref_id=7), "ref 7: its id stands twice"),
        (spoilt_ref(ref_id=2**99), "ref: its id is a number of 100 bits"),
        (spoilt_ref(0, split="trian"), "ref 7: split 'trian'; expected one of train, val"),
        (spoilt_row(bbox=[0, 0, 99, 9]), "ref 14: box from (0, 0) to (99, 9) lies outside"),
        (spoilt_row(segmentation=[[1, 2, 3, 4]]), "ref 14: a polygon of 2 points"),
        (spoilt_row(id=101), "annotation 101: its id stands twice"),
    ],
)
def test_refcoco(tmp_path: Path, spoil: Callable[[Any, Any], None], problem: str) -> None:
    refs, instances = layouts.refer_data()
    spoil(refs, instances)
    assert f"\n  {problem}" in refusal(layouts.refer_folder(tmp_path, refs, instances), "val")


def test_refcoco_is_incomplete(tmp_path: Path) -> None:
    folder = layouts.refer_folder(tmp_path)
    (folder / "instances.json").unlink()
    assert "instances.json: no such file" in refusal(folder, "val")
    layouts.refer_folder(tmp_path, [1])  # type: ignore[list-item]
    assert "expected a list of references, each a mapping" in refusal(folder, "val")


def test_references_that_share_everything_end_soon(tmp_path: Path) -> None:
    """A small pickle can hold one list many times; nobody walks it for long."""
    refs, _ = layouts.refer_data()
    folder = layouts.refer_folder(tmp_path)
    shared = layouts.python2(refs[1]["sentences"][0])
    sentences = b"(l" + shared + b"p1\na" + b"g1\na" * 20_000 + b"p2\n"
    head = {"image_id": 2, "ann_id": 102, "split": "val"}
    first = layouts.python2({**head, "ref_id": 1}) + b"S'sentences'\n" + sentences + b"s"
    rest = [layouts.python2({**head, "ref_id": i}) + b"S'sentences'\ng2\ns" for i in range(2, 500)]
    data = b"(l" + first + b"a" + b"".join(ref + b"a" for ref in rest) + b"."
    (folder / "refs(unc).p").write_bytes(data)
    started = time.monotonic()
    assert "1000 problem(s)" in refusal(folder, "val")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("key", "fields", "problem"),
    [
        ("annotations", {"image_id": 7}, "annotation 1: unknown image_id '7'"),
        ("annotations", {"image_id": 7}, "image 1: no annotation says"),
        ("annotations", {"image_id": 0}, "annotation 1: image 0 has annotation 0 already"),
        ("annotations", {"tokens_positive": [[3]]}, "annotation 1: root [[3]]"),
        ("annotations", {"tokens_positive": []}, "annotation 1: root []"),
        ("annotations", {"tokens_positive": [[0, 99]]}, "annotation 1: root [0, 99]"),
        ("annotations", {"bbox": [0, 0, 0, 0]}, "annotation 1: box from (0, 0) to (0, 0)"),
        ("images", {"caption": ""}, "annotation 1: caption ''"),
        ("images", {"file_name": "x.jpg"}, "annotation 1: "),
    ],
)
def test_mdetr(tmp_path: Path, key: str, fields: dict[str, Any], problem: str) -> None:
    data = layouts.mdetr_data()
    data[key][1].update(fields)
    layouts.picture(tmp_path / "COCO_train2014_1.jpg")
    file = layouts.written(tmp_path / "finetune_refcoco_train.json", data)
    assert f"\n  {problem}" in refusal(file, "train")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("<xmin>1</xmin>", "<xmin>a</xmin>", "entity 1: box ['a', '2', '5', '9']; expected whole"),
        ("<xmin>1</xmin>", "", "entity 1: box [None, "),
        ("<xmin>1</xmin>", "<xmin>6</xmin>", "entity 1: box ['6', '2', '5', '9'] is empty"),
        ("<xmax>20</xmax>", "<xmax>200</xmax>", "sentence 0, entity 2: box from (13, 1) to (200"),
        ("</annotation>", "", "not valid XML"),
        ("<annotation>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>", "with declarations"),
    ],
)
def test_flickr_boxes(tmp_path: Path, old: str, new: str, problem: str) -> None:
    folder = layouts.flickr_folder(tmp_path, layouts.FLICKR_XML.replace(old, new))
    told = refusal(folder, "val")
    assert "\n  picture 36" in told
    assert problem in told


def test_flickr_files(tmp_path: Path) -> None:
    folder = layouts.flickr_folder(tmp_path, lines=("[/EN#1/people Two boys throw .",))
    layouts.written(folder / "val.txt", "36 37 36 ../36")
    told = refusal(folder, "val")
    assert "picture 36, sentence 0: a malformed mark" in told
    assert "37.xml: no such file" in told
    assert "picture of val.txt 36: its id stands twice" in told
    assert "picture ../36: its name is a path" in told
