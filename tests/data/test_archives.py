"""Pictures in tar files and tables: written out once, then a data set like any other."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffuprompt.data.archives import is_archive
from diffuprompt.data.archives.webdataset import find_shards
from diffuprompt.data.registry import Registered, register
from diffuprompt.data.sources import absolute_spec, open_dataset
from diffuprompt.errors import DataError

NAMES = ("ant", "bee")


def picture(shade: int, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 100, 100)).save(out, kind)
    return out.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def shard(path: Path, first: int = 0, *, labels: tuple[str, ...] = ("0", "1")) -> Path:
    members = []
    for i in range(4):
        label = labels[i % 2].encode()
        members += [(f"x/{i}.png", picture(first + i)), (f"x/{i}.cls", label)]
    return write_tar(path, members)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/nonexistent/pickle-was-executed", "w"))


def test_shards_are_a_data_set_of_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    for split, first in (("train", 0), ("test", 100)):
        for number in range(2):
            shard(folder / f"birds-{split}-{number:03d}.tar", first + 10 * number)
    (folder / "classnames.txt").write_text("0 ant\n1 honey bee\n")
    manifest = open_dataset(folder, cache=tmp_path / "cache")
    assert (manifest.name, manifest.classes) == ("birds", ("ant", "honey bee"))
    sizes = {split: len(items) for split, items in manifest.splits.items()}
    assert sizes == {"train": 8, "val": 0, "test": 8}
    found = [(manifest.root / i.path).read_bytes() for i in manifest.splits["train"]]
    assert found == [picture(shade) for shade in (0, 1, 2, 3, 10, 11, 12, 13)]
    assert [item.label for item in manifest.splits["train"]] == [0, 1] * 4
    # the same shards by a pattern, and as a community split file: the same pictures
    train = open_dataset(
        str(folder / "birds-train-{000..001}.tar"), cache=tmp_path / "cache", check=False
    )
    assert sum(map(len, train.splits.values())) == 8
    again = open_dataset(manifest.root / "split.json")
    assert again.splits == manifest.splits


def test_whatever_is_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        shard(tmp_path / "s" / f"{number}.tar", 10 * number, labels=NAMES)
    from diffuprompt.data.archives import webdataset

    read, calls = webdataset.WebDataset.read, []

    def counted(self: Any, path: Path) -> Any:
        calls.append(path.name)
        if calls == ["0.tar", "1.tar"]:
            raise KeyboardInterrupt
        return read(self, path)

    monkeypatch.setattr(webdataset.WebDataset, "read", counted)
    with pytest.raises(KeyboardInterrupt):
        open_dataset(tmp_path / "s", cache=tmp_path / "cache")
    manifest = open_dataset(tmp_path / "s", cache=tmp_path / "cache")
    assert calls == ["0.tar", "1.tar", "1.tar", "2.tar"]
    assert manifest.classes == NAMES
    assert sum(map(len, manifest.splits.values())) == 12  # without split names: by hash
    open_dataset(tmp_path / "s", cache=tmp_path / "cache")
    assert len(calls) == 4  # finished: nothing is read again
    (manifest.root / manifest.splits["train"][0].path).unlink()
    assert open_dataset(tmp_path / "s", cache=tmp_path / "cache").hash == manifest.hash
    assert len(calls) == 5  # only the file of the picture that was gone
    (manifest.root / manifest.splits["train"][0].path).write_bytes(b"")
    open_dataset(tmp_path / "s", cache=tmp_path / "cache")
    assert len(calls) == 6


def test_nothing_in_a_tar_is_executed_or_becomes_a_path(tmp_path: Path) -> None:
    members = [
        ("../../evil.png", picture(1)),
        ("../../evil.cls", b"ant"),
        ("/etc/evil.png", picture(2)),
        ("/etc/evil.cls", b"bee"),
        ("/etc/evil.pyd", pickle.dumps(Bomb())),
        ("k.json", b"{}"),
        *((f"{i}.{kind}", data) for i in range(3) for kind, data in _pair(i)),
    ]
    path = write_tar(tmp_path / "in" / "a.tar", members)
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("z.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    manifest = open_dataset(path, cache=tmp_path / "cache")
    paths = [item.path for items in manifest.splits.values() for item in items]
    assert len(paths) == 5
    assert all(path.startswith("images/00000/") for path in paths)
    assert not (tmp_path / "evil.png").exists()
    assert {p.parent.name for p in tmp_path.rglob("*.png")} == {"00000"}


def _pair(i: int) -> list[tuple[str, bytes]]:
    return [("jpg", picture(i + 5, "JPEG")), ("txt", NAMES[i % 2].encode())]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", b"x")], "'a' has no label; expected a part .cls"),
        ([("a.png", b"x"), ("a.jpg", b"x"), ("a.cls", b"0")], "several pictures: png, jpg"),
        ([("a.png", b"x"), ("a.cls", b" ")], "its label is empty"),
        ([("a.png", b"x"), ("a.cls", b"\xff")], "its label is no UTF-8 text"),
        ([("a.png", b"x"), ("a.cls", b"0" * 70000)], "at most 65536"),
        ([("a.txt", b"x")], "no picture with a label"),
        (
            [("a.png", b"x"), ("a.cls", b"0"), ("b.png", b"y"), ("b.cls", b"bee")],
            "numbers and names",
        ),
    ],
)
def test_samples_that_cannot_be_used(
    members: list[tuple[str, bytes]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(write_tar(tmp_path / "a.tar", members), cache=tmp_path / "cache")


def test_files_that_are_no_shards(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match=r"a\.tar: cannot be read as a tar file"):
        open_dataset(tmp_path / "a.tar", cache=tmp_path / "cache")
    shard(tmp_path / "s-00.tar")
    with pytest.raises(DataError, match=r"2 of 3 shards are missing: .*s-01\.tar"):
        find_shards(tmp_path / "s-{00..02}.tar")
    folder = tmp_path / "mixed"
    shard(folder / "train-0.tar")
    shard(folder / "1.tar", 10)
    with pytest.raises(DataError, match="1 of 2 files name no split"):
        open_dataset(folder, cache=tmp_path / "cache")
    (folder / "cat").mkdir()  # class folders beside a backup are class folders
    assert not is_archive(folder)


def test_tables_need_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'diffuprompt\[datasets\]'"):
        open_dataset(f"hf:{tmp_path}", cache=tmp_path / "cache")


def write_table(path: Path, first: int, extra: dict[str, list[Any]] | None = None) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        "image": [{"bytes": picture(first + i), "path": None} for i in range(4)],
        "label": [0, 1, 0, 1],
        **(extra or {}),
    }
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": list(NAMES)},
        **{name: {"_type": "ClassLabel", "names": ["big", "small"]} for name in extra or {}},
    }
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(pa.table(rows).replace_schema_metadata(meta), path)


def test_tables_are_a_data_set_of_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "insects"
    write_table(folder / "data" / "train-00000-of-00001.parquet", 0)
    write_table(folder / "data" / "validation-00000-of-00001.parquet", 50)
    manifest = open_dataset(f"hf:{folder}", cache=tmp_path / "cache")
    assert (manifest.name, manifest.classes) == ("insects", NAMES)
    sizes = {split: len(items) for split, items in manifest.splits.items()}
    assert sizes == {"train": 4, "val": 0, "test": 4}  # tested on what there is
    found = [(manifest.root / i.path).read_bytes() for i in manifest.splits["train"]]
    assert found == [picture(shade) for shade in range(4)]


def test_what_save_to_disk_writes_is_read_too(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path / "insects"
    for split, first in (("train", 0), ("test", 9)):
        write_table(tmp_path / "t.parquet", first)
        table = parquet.read_table(tmp_path / "t.parquet")
        (folder / split).mkdir(parents=True)
        (folder / split / "state.json").write_text("{}")
        with pa.ipc.new_stream(
            str(folder / split / "data-00000-of-00001.arrow"), table.schema
        ) as out:
            out.write_table(table)
    manifest = open_dataset(f"hf:{folder}", cache=tmp_path / "cache")
    assert manifest.classes == NAMES
    found = [(manifest.root / i.path).read_bytes() for i in manifest.splits["test"]]
    assert found == [picture(shade) for shade in range(9, 13)]
    (folder / "test" / "data-00000-of-00001.arrow").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"test/data-00000.*: cannot be read"):
        open_dataset(f"hf:{folder}", cache=tmp_path / "cache")


def test_columns_and_configurations_are_chosen_or_asked_for(tmp_path: Path) -> None:
    folder, cache = tmp_path / "insects", tmp_path / "cache"
    for config in ("wings", "legs"):
        for split, first in (("train", 0), ("test", 9)):
            write_table(folder / config / split / "0.parquet", first, {"size": [1, 1, 0, 0]})
    with pytest.raises(DataError, match="expected one of legs, wings behind the name"):
        open_dataset(f"hf:{folder}", cache=cache)
    with pytest.raises(DataError, match="Did you mean 'wings'"):
        open_dataset(f"hf:{folder}:wing", cache=cache)
    with pytest.raises(DataError, match=r"which column is the label\? .*size \(label\)"):
        open_dataset(f"hf:{folder}:wings", cache=cache)
    found = open_dataset(f"hf:{folder}:wings?label=size", cache=cache)
    assert (found.name, found.classes) == ("insects-wings", ("big", "small"))
    assert [item.label for item in found.splits["test"]] == [1, 1, 0, 0]
    assert open_dataset(f"hf:{folder}:wings?label=label", cache=cache).classes == NAMES


@pytest.mark.parametrize("value", [0.5, ["ant"], b"ant"])
def test_labels_that_are_neither_numbers_nor_names(value: Any, tmp_path: Path) -> None:
    write_table(tmp_path / "in" / "train.parquet", 0, {"odd": [value] * 4})
    said = rf"train\.parquet: row 1 of 'odd': .*of type {type(value).__name__};"
    with pytest.raises(DataError, match=said):
        open_dataset(f"hf:{tmp_path / 'in'}?label=odd", cache=tmp_path / "cache")


def test_splits_without_labels_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As benchmarks publish their tests; a row without one among others is still an error."""
    folder = tmp_path / "in"
    for split, labels in (("train", [0, 1, 1, 0]), ("valid", [1, 0, 1, 0]), ("test", [-1] * 4)):
        write_table(folder / f"{split}.parquet", len(split), {"label": labels})
    found = open_dataset(f"hf:{folder}", cache=tmp_path / "cache")
    assert [item.label for item in found.splits["test"]] == [1, 0, 1, 0]  # of valid
    assert "no row of test has a 'label', so it is left out" in caplog.text
    write_table(folder / "test.parquet", 4, {"label": [0, 1, -1, 0]})
    with pytest.raises(DataError, match=r"test\.parquet: row 3 has no 'label'"):
        open_dataset(f"hf:{folder}", cache=tmp_path / "cache")
    write_table(tmp_path / "none" / "train.parquet", 4, {"label": [-1] * 4})
    with pytest.raises(DataError, match="no row has a 'label'"):
        open_dataset(f"hf:{tmp_path / 'none'}", cache=tmp_path / "cache")


def test_a_name_is_fetched_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One configuration of it, in the Parquet form; nothing else is downloaded."""
    for split, first in (("train", 0), ("test", 9)):
        write_table(tmp_path / "hub" / "snapshots" / "0" / "wings" / split / "0000.parquet", first)
    hub = pytest.importorskip("huggingface_hub")
    files = [
        f"{config}/{split}/0000.parquet" for config in ("legs", "wings") for split in ("test",)
    ]
    asked: list[dict[str, Any]] = []

    def fetch(name: str, **values: Any) -> str:
        if name == "someone/else":
            raise hub.errors.LocalEntryNotFoundError("not fetched before")
        asked.append({"name": name, **values})
        return str(tmp_path / "hub" / "snapshots" / "0")

    monkeypatch.setattr(hub.HfApi, "list_repo_files", lambda *_, **__: [*files, "README.md"])
    monkeypatch.setattr(hub, "snapshot_download", fetch)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="expected one of legs, wings"):
        open_dataset("hf:someone/insects", cache=tmp_path / "cache")
    assert not asked
    found = open_dataset("hf:someone/insects:wings", cache=tmp_path / "cache")
    assert (found.name, found.classes) == ("insects-wings", NAMES)
    assert asked == [
        {
            "name": "someone/insects",
            "allow_patterns": ["wings/test/0000.parquet"],
            "repo_type": "dataset",
            "revision": "refs/convert/parquet",
        }
    ]
    monkeypatch.setattr(hub.HfApi, "list_repo_files", lambda *_, **__: 1 / 0)
    asked.clear()
    again = open_dataset("hf:someone/insects:wings", cache=tmp_path / "cache")
    assert (again.hash, [fetched["local_files_only"] for fetched in asked]) == (found.hash, [True])
    (tmp_path / "hub" / "blobs").mkdir()
    (tmp_path / "hub" / "blobs" / "0.incomplete").touch()  # a download that was interrupted
    with pytest.raises(DataError, match="division by zero"):
        open_dataset("hf:someone/insects:wings", cache=tmp_path / "cache")
    with pytest.raises(DataError, match=r"nor a data set that the hub gives \(division by zero\)"):
        open_dataset("hf:someone/else", cache=tmp_path / "cache")


def test_what_is_asked_for_means_the_same_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFUPROMPT_CONFIG", str(tmp_path / "settings"))
    for number in range(2):
        shard(tmp_path / "s" / f"{number}.tar")
    (tmp_path / "dtd").mkdir()
    register("mine", Registered(path=str(tmp_path / "s")))
    (tmp_path / "mine").mkdir()
    same = ("dtd", "mine", "nowhere", "hf:someone/insects:wings?label=x")
    assert [absolute_spec(spec) for spec in same] == list(same)
    assert absolute_spec("s/{0..1}.tar") == str(tmp_path / "s" / "{0..1}.tar")
    assert absolute_spec("./dtd") == str(tmp_path / "dtd")
    assert absolute_spec("hf:s?label=x") == f"hf:{tmp_path / 's'}?label=x"
    assert absolute_spec("hf:s:wings") == f"hf:{tmp_path / 's'}:wings"
