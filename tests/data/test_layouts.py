"""Every published data set opens by name as it is published, in miniature."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from tests.data.layouts import PUBLISHED, TEST_ONLY, WITH_LISTS, WITHOUT_VAL, WNIDS, build_layout

from diffuprompt.data import halves, inspection
from diffuprompt.data.catalog import CATALOG, SCENE_STYLES, image_places, is_test_only, names
from diffuprompt.data.folders import read_folder
from diffuprompt.data.halves import HALVES
from diffuprompt.data.inspection import inspect_dataset
from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.data.official.imagenet import KAGGLE
from diffuprompt.data.official.wordnet import read_wordnet_names
from diffuprompt.data.provenance import PROVENANCE
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import DataError


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All fifteen side by side; nothing changes them."""
    root = tmp_path_factory.mktemp("published")
    for name in PUBLISHED:
        build_layout(name, root, per_class=2)
    return root


def opened(name: str, root: Path) -> Manifest:
    """Open and check as scoring on another data set does."""
    return open_dataset(name, root=root, check=False).check(needs=("test",))


def sizes(manifest: Manifest) -> tuple[int, ...]:
    return tuple(len(items) for items in manifest.splits.values())


def test_the_miniatures_are_of_the_catalog() -> None:
    assert set(PUBLISHED) == set(CATALOG) == set(PROVENANCE)
    assert [name for name in CATALOG if is_test_only(name)] == list(TEST_ONLY)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_every_data_set_opens_by_name(name: str, published: Path) -> None:
    manifest = opened(name, published)
    assert (manifest.name, manifest.classes) == (name, PUBLISHED[name])
    each = 2 * len(PUBLISHED[name])
    train = 0 if name in TEST_ONLY else each
    assert sizes(manifest) == (train, 0 if name in WITHOUT_VAL else each, each)
    assert open_dataset(name, root=published, check=False).hash == manifest.hash
    if not is_test_only(name):
        open_dataset(name, root=published)  # may train


@pytest.mark.parametrize("name", WITH_LISTS)
def test_official_lists_are_another_data_set(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same pictures through the authors' lists and through the split file."""
    build_layout(name, tmp_path / "lists", per_class=1, official=True)
    by_lists = open_dataset(name, root=tmp_path / "lists")
    assert "no published number is of them" in caplog.text
    assert (by_lists.name, by_lists.classes) == (f"{name}-official", PUBLISHED[name])
    build_layout(name, tmp_path / "split", per_class=1)
    by_file = open_dataset(name, root=tmp_path / "split")
    assert by_lists.splits["test"] == by_file.splits["test"]
    both = {*by_file.splits["train"], *by_file.splits["val"]}
    assert {*by_lists.splits["train"], *by_lists.splits["val"]} == both
    assert bool(by_lists.splits["val"]) == (name == "dtd")  # others have train and test alone


def test_lines_of_official_lists_that_fit_nothing_are_named(tmp_path: Path) -> None:
    build_layout("sun397", tmp_path, per_class=1, official=True)
    with (tmp_path / "sun397" / "Testing_01.txt").open("a") as file:
        file.write("/z/zoo/sun_1.jpg\n/../../secret.jpg\n")
    with pytest.raises(DataError, match=r"2 problem(.|\n)*class 'zoo' is in no list(.|\n)*'\.\.'"):
        open_dataset("sun397", root=tmp_path)


def test_what_has_no_lists_asks_for_the_split_file(tmp_path: Path) -> None:
    build_layout("eurosat", tmp_path, per_class=1)
    (tmp_path / "eurosat" / "split_zhou_EuroSAT.json").unlink()
    with pytest.raises(
        DataError, match=r"EuroSAT: files are missing.*\n.*split_zhou_EuroSAT\.json"
    ):
        open_dataset("eurosat", root=tmp_path)


def test_files_are_taken_in_sorted_order(published: Path) -> None:
    """The released code's subsets of ImageNet follow the order of the file system."""
    for items in opened("imagenet", published).splits.values():
        paths = [item.path for item in items]
        assert paths == sorted(paths)


def test_some_names_are_numbered_again(published: Path) -> None:
    """ImageNet-A and -R choose among their own names; V2's folders are lines of the list."""
    found = opened("imagenet_a", published)
    assert {item.path[:9]: item.label for item in found.splits["test"]} == dict(
        zip(WNIDS[1:], range(3), strict=True)
    )
    found = opened("imagenetv2", published)
    assert {(item.path.partition("/")[0], item.label) for item in found.splits["test"]} == {
        (str(label), label) for label in range(4)
    }


def test_a_flat_validation_folder_is_explained_or_read(published: Path, tmp_path: Path) -> None:
    build_layout("imagenet", tmp_path, per_class=2, flat=True)
    with pytest.raises(DataError, match=r"8 pictures lie directly in this folder(.|\n)*val/n01440"):
        open_dataset("imagenet", root=tmp_path)
    images = tmp_path / "imagenet" / "images"
    files = sorted(path.stem for path in (images / "val").iterdir())
    lines = [f"{file},{WNIDS[i // 2]} 1 2 3 4 \n" for i, file in enumerate(files)]
    (images / KAGGLE).write_text("ImageId,PredictionString\n" + "".join(lines))
    manifest = open_dataset("imagenet", root=tmp_path)
    sorted_one = opened("imagenet", published)
    assert manifest.classes == sorted_one.classes
    labels = [item.label for item in manifest.splits["test"]]
    assert labels == [item.label for item in sorted_one.splits["test"]]
    (images / KAGGLE).write_text("".join(lines[1:]))
    with pytest.raises(DataError, match="no line for 1 pictures"):
        open_dataset("imagenet", root=tmp_path)


def test_imagenet_needs_no_training_images_to_be_tested_on(tmp_path: Path) -> None:
    build_layout("imagenet", tmp_path, per_class=1)
    shutil.rmtree(tmp_path / "imagenet" / "images" / "train")
    assert sizes(opened("imagenet", tmp_path)) == (0, 0, 4)
    found = inspect_dataset("imagenet", tmp_path)
    assert found.state == "differs"
    assert any("can only be tested on" in problem for problem in found.problems)


def test_folders_that_the_list_does_not_name(published: Path, tmp_path: Path) -> None:
    build_layout("imagenet_r", tmp_path, per_class=1)
    names = tmp_path / "imagenet-rendition" / "classnames.txt"
    names.write_text("".join(names.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError, match=r"classnames\.txt: no name for 1 folders: n01440764"):
        open_dataset("imagenet_r", root=tmp_path)
    build_layout("imagenetv2", tmp_path, per_class=1)
    (image_places(CATALOG["imagenetv2"], tmp_path)[0] / "4").mkdir()
    with pytest.raises(DataError, match=r"expected folders 0 to 3.*got \['4'\]"):
        open_dataset("imagenetv2", root=tmp_path)


def test_names_of_wordnet(tmp_path: Path) -> None:
    """Twins of the published list are told apart; other lists and broken lines are refused."""
    file = tmp_path / "classnames.txt"
    twins = ["n03773504 missile", "n04008634 missile", "n04355933 sunglasses"]
    file.write_text("\n".join([*twins, "n04356056 sunglasses", ""]))
    assert list(read_wordnet_names(file).values()) == [
        *("missile", "projectile", "sunglass", "sunglasses"),
    ]
    file.write_text("n01514668 cock\nn02012849 crane\nn03126707 crane\n")
    with pytest.raises(DataError, match="WordNet's first words"):
        read_wordnet_names(file)
    file.write_text("n01514668\n0 rooster\nn02012849 crane bird\nn02012849 crane\n")
    with pytest.raises(DataError, match=r"3 problem(.|\n)*line 4: n02012849 stands there twice"):
        read_wordnet_names(file)


def test_the_doctor_counts_and_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_layout("dtd", tmp_path, per_class=2)
    (tmp_path / "dtd" / "images" / "blotchy" / "blotchy_0003.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        found = inspect_dataset("dtd", tmp_path)
    assert (found.state, found.classes) == ("unusable", 4)
    assert [(c.split, c.there, c.listed, c.official) for c in found.counts] == [
        ("train", 7, 8, 2820),
        ("val", 8, 8, 1128),
        ("test", 8, 8, 1692),
    ]
    assert "1 files are missing in 1 classes: blotchy (1)" in found.problems[0]
    assert "train: 8 images, officially 2820" in found.problems
    assert "4 classes, officially 47" in found.problems
    assert inspect_dataset("eurosat", tmp_path).state == "missing"
    (tmp_path / "eurosat" / "2750").mkdir(parents=True)
    found = inspect_dataset("eurosat", tmp_path)
    assert found.state == "unusable"
    assert "split_zhou_EuroSAT.json" in found.problems[0]
    with pytest.raises(DataError, match="Did you mean 'eurosat'"):
        inspect_dataset("eurosatt", tmp_path)


@pytest.mark.parametrize("name", names())
def test_the_doctor_knows_every_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Manifest(name, tmp_path, ("a",), {"test": (Item("a.png", 0),)})
    monkeypatch.setattr(inspection, "open_dataset", lambda *_, **__: opened)  # draws the scenes
    state = "unusable" if name in SCENE_STYLES else "missing"
    assert inspect_dataset(name, tmp_path).state == state


def test_the_doctor_counts_half_of_what_lies_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = PUBLISHED["caltech101"]
    monkeypatch.setattr(
        halves, "HALVES", dict(zip(HALVES, (classes[:2], classes[2:]), strict=True))
    )
    build_layout("caltech101", tmp_path, per_class=2)
    found = inspect_dataset("caltech101-living", tmp_path)
    assert (found.state, found.classes) == ("complete", 2)
    assert [(c.split, c.there) for c in found.counts] == [("train", 4), ("val", 4), ("test", 4)]


def test_the_real_one_is_complete(shared_data: Path) -> None:
    found = inspect_dataset("caltech101", shared_data)
    assert (found.state, found.problems) == ("complete", ())


def test_a_split_file_says_the_same_as_the_folders(published: Path) -> None:
    """Of a data set whose names are its folders, another reader gives the same labels."""
    found = opened("dtd", published)
    folders = read_folder(published / "dtd" / "images")
    label_of = {i.path: i.label for items in folders.splits.values() for i in items}
    for items in found.splits.values():
        assert all(label_of[item.path] == item.label for item in items)
    rows = json.loads((published / "dtd" / CATALOG["dtd"].split_file).read_text())
    assert all(name == folders.classes[label] for _, label, name in rows["train"])
