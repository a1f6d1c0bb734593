"""Every way in: folders, CSV, community split files; and what each says when it is wrong."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from diffuprompt.data.folders import hash_split
from diffuprompt.data.manifest import Item
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def class_folders(root: Path, count: int = 40) -> Path:
    return touch(root, *(f"{c}/{i:02d}.jpg" for c in ("Cat", "ant", "bee") for i in range(count)))


def where(root: Path) -> dict[str, str]:
    return {i.path: s for s, items in open_dataset(root).splits.items() for i in items}


def test_folder_per_class(tmp_path: Path) -> None:
    manifest = open_dataset(class_folders(tmp_path / "pets"))
    assert (manifest.name, manifest.classes) == ("pets", ("Cat", "ant", "bee"))
    paths = [i.path for items in manifest.splits.values() for i in items]
    assert len(paths) == len(set(paths)) == 120
    shares = [len(items) / 120 for items in manifest.splits.values()]
    # three binomial standard deviations of 120 draws: 0.14, 0.11, 0.13
    assert shares == pytest.approx([0.5, 0.2, 0.3], abs=0.14)


def test_adding_files_moves_no_other_file(tmp_path: Path) -> None:
    before = where(class_folders(tmp_path))
    touch(tmp_path, "Cat/new.png", "ant/deeper/new.webp", "zebra/1.jpg", "zebra/2.jpg")
    after = where(tmp_path)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 4


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_small_classes_have_train_and_test_images(count: int) -> None:
    for trial in range(50):
        splits = hash_split([(f"{trial}/{i}.jpg", 0) for i in range(count)])
        assert splits["train"]
        assert bool(splits["test"]) == (count > 1)
        assert sum(map(len, splits.values())) == count


def test_kinds_of_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kinds = ("jpg", "JPEG", "Png", "webp", "bmp", "gif", "tif", "TIFF")
    touch(tmp_path, *(f"a/1.{kind}" for kind in kinds), "b/1.jpg", "b/2.jpg")
    touch(tmp_path, "a/Thumbs.db", "a/.DS_Store", ".cache/x.jpg", "a/.hidden/x.jpg")
    with caplog.at_level(logging.WARNING):
        manifest = open_dataset(tmp_path)
    assert manifest.classes == ("a", "b")
    assert sum(map(len, manifest.splits.values())) == len(kinds) + 2
    assert not caplog.records

    touch(tmp_path, "a/notes.txt", "b/clip.mp4")
    with caplog.at_level(logging.WARNING):
        open_dataset(tmp_path)
    assert "left out 2 files that are no pictures: 1 .mp4, 1 .txt" in caplog.text

    touch(tmp_path, "b/IMG_1.HEIC")
    with pytest.raises(DataError, match=r"cannot be read; convert(.|\n)*b/IMG_1\.HEIC"):
        open_dataset(tmp_path)


def test_folder_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="one sub folder per class, found none"):
        open_dataset(tmp_path / "empty")
    loose = touch(class_folders(tmp_path / "loose", 2), "stray.PNG")
    with pytest.raises(DataError, match=r"outside any class folder, e\.g\. stray\.PNG"):
        open_dataset(loose)
    (class_folders(tmp_path / "hollow", 2) / "void").mkdir()
    with pytest.raises(DataError, match="class 'void' has no image in train"):
        open_dataset(tmp_path / "hollow")
    twice = touch(tmp_path / "twice", "sea_lion/1.jpg", "Sea lion/1.jpg")
    with pytest.raises(DataError, match="become the same prompt text 'sea lion'"):
        open_dataset(twice)
    with pytest.raises(DataError, match="at least two classes"):
        open_dataset(touch(tmp_path / "single", "cat/1.jpg", "cat/2.jpg"))


def test_folder_with_splits(tmp_path: Path) -> None:
    touch(tmp_path, "Train/cat/1.jpg", "Train/dog/1.jpg", "validation/dog/2.jpg", "test/cat/3.jpg")
    manifest = open_dataset(tmp_path)
    assert manifest.classes == ("cat", "dog")
    assert manifest.splits == {
        "train": (Item("Train/cat/1.jpg", 0), Item("Train/dog/1.jpg", 1)),
        "val": (Item("validation/dog/2.jpg", 1),),
        "test": (Item("test/cat/3.jpg", 0),),
    }


def test_folder_with_splits_errors(tmp_path: Path) -> None:
    touch(tmp_path / "a", "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/dgo/1.jpg")
    with pytest.raises(DataError, match=r"'dgo' is in test but not in train\. Did you mean 'dog'"):
        open_dataset(tmp_path / "a")
    touch(tmp_path / "b", "train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg")
    with pytest.raises(DataError, match="no test folder"):
        open_dataset(tmp_path / "b")


def test_a_class_named_train_is_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "car/1.jpg", "bus/1.jpg")
    assert open_dataset(tmp_path).classes == ("bus", "car", "train")


def write_csv(root: Path, text: str) -> Path:
    touch(root, "a.jpg", "sub/b.jpg", "c d.jpg", "e.jpg")
    (root / "list.csv").write_text(text, encoding="utf-8-sig")
    return root / "list.csv"


def test_csv_with_splits(tmp_path: Path) -> None:
    text = 'label,Path,split\ndog,a.jpg,train\ncat,sub/b.jpg,train\n\n"cat",c d.jpg,valid\n'
    manifest = open_dataset(write_csv(tmp_path, f"{text}dog,{tmp_path}/e.jpg,TEST\n"))
    assert (manifest.name, manifest.root, manifest.classes) == ("list", tmp_path, ("cat", "dog"))
    assert manifest.splits == {
        "train": (Item("a.jpg", 1), Item("sub/b.jpg", 0)),
        "val": (Item("c d.jpg", 0),),
        "test": (Item("e.jpg", 1),),
    }


def test_csv_without_splits_is_split_like_a_folder(tmp_path: Path) -> None:
    rows = [("a.jpg", "dog"), ("sub/b.jpg", "cat"), ("c d.jpg", "cat"), ("e.jpg", "dog")]
    text = "path,label\n" + "".join(f"{path},{label}\n" for path, label in rows)
    manifest = open_dataset(write_csv(tmp_path, text))
    assert manifest.splits == hash_split([(path, int(label == "dog")) for path, label in rows])


def test_all_bad_csv_rows_are_reported_with_their_lines(tmp_path: Path) -> None:
    rows = ["a.jpg,cat,train", "a.jpg,dog,train", "e.jpg,cat,trian", "e.jpg,,test", "e.jpg,cat"]
    text = "\n".join(["path,label,split", *rows, "gone.jpg,dog,train", "/other/x.jpg,cat,test"])
    with pytest.raises(DataError) as caught:
        open_dataset(write_csv(tmp_path, text))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("list.csv: 6 problem(s)")
    for line, part in zip(
        lines[1:],
        (
            "line 3: a.jpg is already listed in line 2",
            "line 4: expected split train, val or test, got 'trian'",
            "line 5: empty label",
            "line 6: expected 3 columns, got 2",
            "line 7: file not found",
            "line 8: absolute path outside",
        ),
        strict=True,
    ):
        assert line.strip().startswith(part)


def test_missing_csv_files_are_left_to_verify_without_check(tmp_path: Path) -> None:
    file = write_csv(tmp_path, "path,label,split\ngone.jpg,a,train\ne.jpg,b,train\n")
    problems = open_dataset(file, check=False).problems()
    assert [problem.path for problem in problems] == [str(tmp_path / "gone.jpg")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path;label\n", "commas between"),
        ("path,label,splt\n", "Did you mean 'split'"),
        ("a.jpg,cat\n", "expected the header"),
        ("", "expected the header"),
        ("path,label\n", "no rows after the header"),
        ('path,label\n"a.jpg,cat\n', "not valid CSV"),
    ],
)
def test_csv_that_is_no_list(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(write_csv(tmp_path, text))


def test_csv_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("path,label\na.jpg,Löwe\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        open_dataset(tmp_path / "list.csv")


def write_split(root: Path, data: object) -> Path:
    touch(root / "images", "a.jpg", "b.jpg", "c.jpg")
    (root / "split_zhou_Toy.json").write_text(json.dumps(data))
    return root / "split_zhou_Toy.json"


def test_split_file(tmp_path: Path) -> None:
    data = {"train": [["b.jpg", 1, "dog"], ["a.jpg", 0, "cat"]], "test": [["c.jpg", 1, "dog"]]}
    manifest = open_dataset(write_split(tmp_path, data), root=tmp_path / "images")
    assert (manifest.name, manifest.classes) == ("Toy", ("cat", "dog"))
    assert manifest.splits["train"] == (Item("b.jpg", 1), Item("a.jpg", 0))
    with pytest.raises(DataError, match="3 problem"):  # the images are not beside the file
        open_dataset(tmp_path / "split_zhou_Toy.json")
    with pytest.raises(DataError, match="expected the folder"):
        open_dataset(tmp_path / "split_zhou_Toy.json", root=tmp_path / "nowhere")


def test_split_file_errors_come_at_once(tmp_path: Path) -> None:
    train = [["a.jpg", 0, "cat"], ["b.jpg", 0, "dog"], ["c.jpg", True, "x"], ["d.jpg", 2, "owl"]]
    file = write_split(tmp_path, {"train": train, "test": [["c.jpg", 3, "bee"]]})
    with pytest.raises(DataError) as caught:
        open_dataset(file, root=tmp_path / "images")
    for part in (
        "4 problem(s)",
        "train[1]: label 0 is called 'cat' and 'dog'",
        "train[2]: expected [path, label, class]",
        "test[0]: label 3 (bee) is not in train",
        "labels [1] are not used in train",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("data", [[], {"train": []}, {"train": {}, "test": []}, {"a": 1}])
def test_json_that_is_no_split_file(data: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected"):
        open_dataset(write_split(tmp_path, data), root=tmp_path)


def test_broken_json_and_other_paths(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"train": [')
    (tmp_path / "list.txt").write_text("a")
    with pytest.raises(DataError, match=r"bad\.json: not valid JSON"):
        open_dataset(tmp_path / "bad.json")
    with pytest.raises(
        DataError, match=r"expected a folder, a \.csv, a split \.json or a \.tar file"
    ):
        open_dataset(tmp_path / "list.txt")
    with pytest.raises(DataError, match="Did you mean 'caltech101'"):
        open_dataset("Caltech101")


def test_a_data_set_to_test_on_needs_no_training_images(tmp_path: Path) -> None:
    """As a folder, a CSV or a split file; a folder `test` was taken for a class of that name."""
    folder = tmp_path / "birds"
    rows = []
    for label, name in enumerate(("owl", "wren")):
        for i in range(2):
            touch(folder, f"test/{name}/{i}.png")
            rows.append((f"test/{name}/{i}.png", label, name))
    csv, split = folder / "birds.csv", folder / "birds.json"
    csv.write_text("path,label,split\n" + "".join(f"{p},{n},test\n" for p, _, n in rows))
    split.write_text(json.dumps({"test": rows}))
    for spec in (folder, csv, split):
        found = open_dataset(spec, check=False).check(needs=("test",))
        assert found.classes == ("owl", "wren")
        assert [(i.path, i.label) for i in found.splits["test"]] == [row[:2] for row in rows]
        assert not found.splits["train"]
        with pytest.raises(DataError, match="class 'owl' has no image in train"):
            open_dataset(spec)
    split.write_text(json.dumps({"train": [], "val": [["v.png", 2, "emu"]], "test": rows}))
    with pytest.raises(DataError, match=r"val\[0\]: label 2 \(emu\) is not in test"):
        open_dataset(split, check=False)
    split.write_text(json.dumps({"train": rows}))
    with pytest.raises(DataError, match="expected an object with test, train and val"):
        open_dataset(split, check=False)
