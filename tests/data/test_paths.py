"""One spelling for every file, the same rule in every kind of table, nothing outside the root."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.data.paths import Places
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import DataError

CLASSES = ("robin", "wren")
NFC, NFD = (unicodedata.normalize(form, "Grünfink/ä.png") for form in ("NFC", "NFD"))


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def birds(root: Path) -> Path:
    return touch(root, *(f"{label}/{i}.png" for label in CLASSES for i in range(1, 5)))


Rows = list[tuple[str, str, str]]  # path, label, split


def as_csv(folder: Path, rows: Rows) -> Path:
    text = "".join(f'"{path}",{label},{split}\n' for path, label, split in rows)
    (folder / "list.csv").write_text("path,label,split\n" + text, encoding="utf-8-sig")
    return folder / "list.csv"


def as_json(folder: Path, rows: Rows) -> Path:
    data: dict[str, list[object]] = {"train": [], "test": []}
    for path, label, split in rows:
        data[split].append([path, CLASSES.index(label), label])
    (folder / "list.json").write_text(json.dumps(data), encoding="utf-8-sig")
    return folder / "list.json"


TABLES = pytest.mark.parametrize("table", [as_csv, as_json])
Table = Callable[[Path, Rows], Path]


def rows_with(path: str, split: str = "test") -> Rows:
    whole = [(f"{c}/{i}.png", c, s) for c in CLASSES for i, s in ((1, "train"), (2, "test"))]
    return [*whole, (path, "robin", split)]


SPELLINGS = (
    "./robin/1.png",
    "robin//1.png",
    "robin/./1.png",
    "robin/../robin/1.png",
    "robin/../wren/../robin/1.png",
    "../birds/robin/1.png",
    "robin\\1.png",
    ".\\robin\\1.png",
    "{root}/robin/1.png",
    "{root}/wren/../robin/1.png",
    "{root}//robin/1.png",
)


@TABLES
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_leak_is_found_whatever_the_spelling(table: Table, spelling: str, tmp_path: Path) -> None:
    root = birds(tmp_path / "birds")
    file = table(root, rows_with(spelling.format(root=root)))
    with pytest.raises(DataError, match=r"robin/1\.png.*listed (twice|in line 2)"):
        open_dataset(file)


@TABLES
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_same_data_set(table: Table, spelling: str, tmp_path: Path) -> None:
    root = birds(tmp_path / "birds")
    plain = open_dataset(table(root, rows_with("robin/3.png")))
    other = spelling.format(root=root).replace("1.png", "3.png")
    assert open_dataset(table(root, rows_with(other))).hash == plain.hash


@TABLES
@pytest.mark.parametrize("spelling", [NFC, NFD])
@pytest.mark.parametrize("on_disk", [NFC, NFD])
def test_unicode_forms_of_one_file_are_one(
    table: Table, spelling: str, on_disk: str, tmp_path: Path
) -> None:
    root = touch(birds(tmp_path / "birds"), on_disk)
    found = open_dataset(table(root, rows_with(spelling)))
    assert (root / found.splits["test"][-1].path).is_file()
    both = [*rows_with(NFC), (NFD, "robin", "train")]
    with pytest.raises(DataError, match="listed"):
        open_dataset(table(root, both))


@TABLES
def test_absolute_paths_however_the_table_is_named(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = birds(tmp_path / "birds")
    table(root, rows_with(f"{root}/robin/3.png"))
    absolute = [(f"{root}/{path}", label, split) for path, label, split in rows_with("robin/3.png")]
    file = table(root, absolute)
    plain = open_dataset(file).hash
    (tmp_path / "linked").symlink_to(root, target_is_directory=True)
    (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    for named in ("birds", "./birds", "linked", "birds/../birds", str(root)):
        assert open_dataset(f"{named}/{file.name}").hash == plain
    assert open_dataset(tmp_path / "linked" / file.name).hash == plain
    assert open_dataset(file.name).hash == plain
    monkeypatch.chdir(root)
    assert open_dataset(file.name).hash == plain
    assert open_dataset(file.name, root=Path(".")).hash == plain


OUTSIDE = ("../secret.png", "robin/../../secret.png", "{top}/secret.png", "link.png", "away/x.png",
           "..\\secret.png", "away/../secret.png")  # fmt: skip


@TABLES
@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_the_root_unless_asked(table: Table, path: str, tmp_path: Path) -> None:
    root = birds(tmp_path / "birds")
    touch(tmp_path, "secret.png", "elsewhere/x.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "away").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    file = table(root, rows_with(path.format(top=tmp_path)))
    with pytest.raises(DataError, match=r"outside .*birds.*--allow-outside") as caught:
        open_dataset(file)
    assert "is not valid" not in str(caught.value)
    allowed = open_dataset(file, allow_outside=True)
    where = root / allowed.splits["test"][-1].path
    assert where.read_bytes() in (b"secret.png", b"elsewhere/x.png")
    assert not os.path.isabs(allowed.splits["test"][-1].path)


def test_links_of_folders_must_stay_inside_too(tmp_path: Path) -> None:
    root = birds(tmp_path / "birds")
    touch(tmp_path, "elsewhere/x.png")
    (root / "robin" / "9.png").symlink_to(root / "wren" / "1.png")  # inside
    open_dataset(root)
    (root / "robin" / "link.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    with pytest.raises(DataError, match=r"robin/link\.png is a link to .*--allow-outside"):
        open_dataset(root)
    open_dataset(root, allow_outside=True)
    (tmp_path / "birds2").symlink_to(root, target_is_directory=True)
    (root / "robin" / "link.png").unlink()
    assert open_dataset(tmp_path / "birds2").hash == open_dataset(root).hash
    (root / "emu").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(DataError, match=r"emu/x\.png is a link to .*--allow-outside"):
        open_dataset(root)


@TABLES
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("robin/\0.png", "is no path"),
        ("C:\\photos\\1.png", "path of another system"),
        (".", "is the folder .* itself"),
        ("x" * 5000, "file not found"),
        ("robin\\gone.png", r"file not found.*robin/gone\.png|robin/gone\.png: file not found"),
    ],
)
def test_paths_that_lead_nowhere(table: Table, path: str, message: str, tmp_path: Path) -> None:
    root = birds(tmp_path / "birds")
    with pytest.raises(DataError, match=message):
        open_dataset(table(root, rows_with(path)))


def test_a_backslash_in_a_file_name_is_kept(tmp_path: Path) -> None:
    touch(tmp_path, "a\\b.png")
    assert Places(tmp_path).find("a\\b.png") == ("a\\b.png", "")


def test_a_manifest_knows_one_file_by_any_spelling(tmp_path: Path) -> None:
    root = birds(tmp_path / "birds")
    train = (Item("robin/1.png", 0), Item("wren/1.png", 1))
    for path in ("robin/./1.png", "wren/../robin/1.png"):
        manifest = Manifest("birds", root, CLASSES, {"train": train, "test": (Item(path, 0),)})
        assert [p.what for p in manifest.problems()] == ["listed twice, in train and in test"]


@pytest.mark.parametrize(
    "row",
    [
        ["robin/3.png", 10**12, "emu"],
        ["robin/3.png", 10**400, "emu"],
        ["robin/3.png", True, "wren"],
        ["robin/3.png", 1.0, "wren"],
        ["robin/3.png", -1, "wren"],
        ["robin/3.png", None, "wren"],
        ["robin/3.png", "1", "wren"],
        [3, 1, "wren"],
        ["robin/3.png", 1, None],
        ["robin/3.png", 1],
        "robin/3.png",
        {"path": "robin/3.png"},
        [],
        None,
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_of_wrong_kinds(row: object, split: str, tmp_path: Path) -> None:
    root = birds(tmp_path / "birds")
    data = json.loads(as_json(root, rows_with("robin/4.png")).read_text("utf-8-sig"))
    data[split].append(row)
    (root / "list.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"list\.json: 1 problem") as caught:
        open_dataset(root / "list.json")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"train": ' + b"[" * 100_000, "a.json: (nested too deeply|not valid JSON)"),
        ("a.json", b'{"test": [["a.png", NaN, "x"]]}', "a.json: .*(not finite|not valid)"),
        ("a.json", b'{"test": [], "test": []}', "stands twice"),
        ("a.json", b"\xff\xfe{", "a.json: not UTF-8"),
        ("a.json", b'{"test": [["\\ud800.png", 0, "x"]]}', "no valid Unicode"),
        ("a.json", b'{"test": [["a.png", 1' + b"0" * 5000 + b', "x"]]}', "a.json: not valid JSON"),
        ("a.json", b'{"test": 3}', "expected a list"),
        ("a.json", b"null", "expected an object"),
        ("a.csv", b"\xff\xfep\0a\0", "a.csv: not UTF-8"),
        ("a.csv", b"path,label\n\xe4.png,x\n", "a.csv: not UTF-8"),
        ("a.csv", b"path,label\na.png," + b"x" * 200_000, "a.csv: not valid CSV .*field limit"),
        ("a.csv", b"path,label\na\0.png,x\n", "a.csv: (1 problem|not valid CSV)"),
        ("a.csv", b"\0" * 100, "a.csv: "),
        ("a.csv", b"path,label\nx" + b"," * 100_000, "expected 2 columns"),
    ],
)
def test_tables_that_cannot_be_read(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(tmp_path / name)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("spec", ["a\0b", "x" * 5000, "~nobody-of-that-name/x", "\udcff", ""])
def test_what_can_be_no_data_set(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        open_dataset(spec)
