"""Names are compared after NFC, and names that are no words are warned of, everywhere alike."""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from diffuprompt.data.identifiers import FILE, kinds_of
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.problems import verify
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import DataError


def folders(root: Path, names: Sequence[str], each: int = 3) -> Path:
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (4, 4), (number, i, len(str(root)) % 256)).save(
                root / name / f"{i}.png"
            )
    return root


def as_folders(root: Path, names: Sequence[str]) -> Path:
    return folders(root, names)


def as_splits(root: Path, names: Sequence[str]) -> Path:
    for split in ("train", "test"):
        folders(root / split, names)
    return root


def as_csv(root: Path, names: Sequence[str]) -> Path:
    folders(root, names)
    rows = [f"{name}/{i}.png,{name}" for name in names for i in range(3)]
    (root / "a.csv").write_text("\n".join(["path,label", *rows]))
    return root / "a.csv"


def as_json(root: Path, names: Sequence[str]) -> Path:
    folders(root, names)
    rows = {
        split: [[f"{name}/{i}.png", label, name] for label, name in enumerate(names)]
        for i, split in enumerate(("train", "test"))
    }
    (root / "a.json").write_text(json.dumps(rows))
    return root / "a.json"


FORMS = pytest.mark.parametrize("form", [as_folders, as_splits, as_csv, as_json])
Form = Callable[[Path, Sequence[str]], Path]
IDENTIFIERS = (
    ("n02672831", "n02709367", "n02219486"),
    ("0", "1", "2"),
    ("007", "012", "100"),
    ("-1", "1", "2.5"),
    ("class_0", "class_1", "class_2"),
    ("Class 1", "label-2", "id3"),
    ("3f2a9c", "0be771", "77aa01"),
    ("m_0bt9lr", "m_01yrx", "m_0ch_cf"),
    ("Q144", "Q146", "Q726"),
    ("550e8400-e29b-41d4-a716-446655440000", "7", "n02672831"),
    ("0", "1", "other"),
    ("001.Black_footed_Albatross", "002.Laysan_Albatross"),  # as in CUB-200
    ("n02085620-Chihuahua", "n02085782-Japanese_spaniel"),  # as in Stanford Dogs
)


@FORMS
@pytest.mark.parametrize("names", IDENTIFIERS)
def test_identifiers_are_warned_of(
    form: Form, names: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = form(tmp_path / "d", names)
    with caplog.at_level(logging.WARNING):
        open_dataset(spec)
    warnings = [
        p for p in verify(open_dataset(spec, check=False)) if "a text tower knows words" in p.what
    ]
    assert [problem.severity for problem in warnings] == ["warning"]
    assert str(warnings[0]) in caplog.text  # the same words
    assert FILE in warnings[0].fix


@pytest.mark.parametrize(
    "names",
    [
        ("robin", "wren"),
        ("737-200", "A320", "Spitfire", "DR-400"),
        ("F-16A", "Boeing 717", "Falcon 900"),
        ("a1 road", "decade", "facade"),
        ("2012 BMW M3 Coupe", "2007 Audi S4"),
        ("7", "robin", "wren", "emu"),
    ],
)
def test_names_in_words_are_not(names: tuple[str, ...], tmp_path: Path) -> None:
    found = verify(open_dataset(folders(tmp_path / "d", names), check=False))
    assert not [problem for problem in found if "a text tower knows words" in problem.what]


def test_kinds() -> None:
    assert kinds_of(["12", "n01440764", "class 3", "wren", "deadbeef1"]) == {
        "numbers": ["12"],
        "WordNet ids": ["n01440764"],
        "numbered classes": ["class 3"],
        "codes": ["deadbeef1"],
    }


@FORMS
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_a_names_file_is_the_way_out(
    form: Form, separator: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = form(tmp_path / "d", ("n02672831", "n02709367"))
    before = open_dataset(spec, check=False)
    lines = [f"n02672831{separator}accordion", "", f"n02709367{separator}Anker, groß", "n9 more"]
    (tmp_path / "d" / FILE).write_text(unicodedata.normalize("NFD", "\n".join(lines)), "utf-8-sig")
    caplog.clear()
    found = open_dataset(spec)
    assert found.classes == ("accordion", unicodedata.normalize("NFC", "Anker, groß"))
    assert found.splits == before.splits
    assert not caplog.records


def test_identifiers_may_hold_spaces(tmp_path: Path) -> None:
    root = folders(tmp_path / "d", ("class 1", "class 10", "class"))
    (root / FILE).write_text("class 10 owl\nclass 1 snow leopard\nclass school class\n")
    assert open_dataset(root).classes == ("school class", "snow leopard", "owl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 zero", "class '1' has no line"),
        ("0 zero\n1", "line 2: expected an identifier and a name, got '1'"),
        ("0 zero\n1 one\n0 null", "line 3: '0' stands there twice"),
        ("0 one\n1 one", "become the same prompt text 'one'"),
        (b"0 \xff", "not UTF-8"),
    ],
)
def test_a_names_file_that_is_wrong(text: str | bytes, message: str, tmp_path: Path) -> None:
    root = folders(tmp_path / "d", ("0", "1"))
    (root / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        open_dataset(root)


FORMS_OF = [unicodedata.normalize(form, "Grünfink") for form in ("NFC", "NFD")]


@pytest.mark.parametrize("train", FORMS_OF)
@pytest.mark.parametrize("test", FORMS_OF)
@pytest.mark.parametrize("kind", ["folders", "csv", "json"])
def test_names_are_compared_after_nfc(train: str, test: str, kind: str, tmp_path: Path) -> None:
    folders(tmp_path / "train", (train, "robin"))
    folders(tmp_path / "test", (test, "robin"))
    rows = [
        (f"{split}/{name}/{i}.png", name, split)
        for split, names in (("train", (train, "robin")), ("test", (test, "robin")))
        for name in names
        for i in range(3)
    ]
    spec = tmp_path
    if kind == "csv":
        spec = tmp_path / "a.csv"
        spec.write_text("path,label,split\n" + "".join(f"{p},{n},{s}\n" for p, n, s in rows))
    elif kind == "json":
        spec = tmp_path / "a.json"
        data: dict[str, list[object]] = {"train": [], "test": []}
        for path, name, split in rows:
            data[split].append([path, int(name == "robin"), name])
        spec.write_text(json.dumps(data))
    found = open_dataset(spec)
    assert found.classes == (FORMS_OF[0], "robin")
    assert [i.label for i in found.splits["test"]] == [0, 0, 0, 1, 1, 1]
    assert all((tmp_path / i.path).is_file() for items in found.splits.values() for i in items)


def test_the_hash_does_not_depend_on_the_form(tmp_path: Path) -> None:
    hashes: set[tuple[str, ...]] = set()
    for number, name in enumerate(FORMS_OF):
        found: Manifest = open_dataset(folders(tmp_path / str(number), (name, "robin")))
        hashes.add(found.classes)
    assert len(hashes) == 1


def test_both_forms_side_by_side_are_one_name_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="become the same prompt text"):
        open_dataset(folders(tmp_path / "d", (*FORMS_OF, "robin")))
