"""Lists of pictures, CSV files and split files: every spelling of a path, and damage."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image
from tests.fuzz.group import Example, Group, Silent
from tests.fuzz.mutate import damaged_bytes, damaged_json

from diffuprompt.data import Manifest, open_dataset

CLASSES = ("robin", "sea lion", "Grünfink", "tench, Tinca tinca")
SPLITS = ("train", "val", "test")
MISSING, OUTSIDE = "robin/nothing.png", "../outside.png"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a list: the picture as it is written, its class and its split."""

    path: str
    name: str
    split: str


def material(folder: Path) -> Path:
    root = folder / "pictures"
    for k, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (3, 3), (40 * k, 40 * i, 9)).save(root / name / f"{i}.png")
    Image.new("RGB", (3, 3)).save(folder / "outside.png")
    return root


def _spelled(root: Path, path: str, how: int) -> str:
    folder, _, leaf = path.partition("/")
    return (
        path, f"./{path}", f"{folder}//{leaf}", f"{folder}/../{folder}/{leaf}",
        f"{folder}/./{leaf}", str(root / path), str(root / ".." / "pictures" / path),
        f"{folder}/{leaf}/", f"robin/../{path}",
    )[how]  # fmt: skip


@st.composite
def lists(draw: st.DrawFn, root: Path) -> list[Row]:
    """Return rows that are mostly right: each class in train and test, spelled in any way."""
    rows = []
    for name in CLASSES[: draw(st.integers(2, 4))]:
        for i in range(draw(st.integers(2, 6))):
            rows.append(Row(path=f"{name}/{i}.png", name=name, split=SPLITS[2 * (i % 2)]))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(rows) - 1))
        row = rows[at]
        action = draw(st.sampled_from(("spell", "again", "missing", "outside", "label", "form")))
        if action == "spell":
            path = _spelled(root, row.path.strip("./"), draw(st.sampled_from((0, 1, 2, 3, 4, 8))))
            rows[at] = Row(path=path, name=row.name, split=row.split)
        elif action == "again":
            path = _spelled(root, f"{row.name}/0.png", draw(st.integers(0, 8)))
            rows.append(Row(path=path, name=row.name, split=draw(st.sampled_from(SPLITS))))
        elif action in ("missing", "outside"):
            path = MISSING if action == "missing" else OUTSIDE
            rows.append(Row(path=path, name=row.name, split=row.split))
        elif action == "form":
            name = unicodedata.normalize("NFD", row.name)
            rows[at] = Row(path=row.path, name=name, split=row.split)
        else:
            name = draw(st.sampled_from(("", " ", "a\u200bb", "\x07", "\u202eab", "x" * 400)))
            rows[at] = Row(path=row.path, name=name, split=row.split)
    return rows


def _is_wrong(root: Path, rows: list[Row]) -> bool:
    real = [os.path.realpath(root / row.path) for row in rows]
    inside = [path.startswith(os.path.realpath(root) + os.sep) for path in real]
    odd = [
        not row.name.strip() or not row.name.isprintable() or len(row.name) > 300 for row in rows
    ]
    gone = [not os.path.isfile(path) for path in real]
    return len(set(real)) < len(real) or not all(inside) or any(odd) or any(gone)


def _check_manifest(manifest: Manifest, root: Path, rows: list[Row] | None) -> None:
    items = [item for split in manifest.splits.values() for item in split]
    real = [os.path.realpath(manifest.root / item.path) for item in items]
    if len(set(real)) < len(real):
        raise Silent("one picture is listed twice")
    for path in real:
        if not path.startswith(os.path.realpath(root) + os.sep) or not os.path.isfile(path):
            raise Silent(f"{path}: missing, or outside the root")
    if any(not 0 <= item.label < len(manifest.classes) for item in items):
        raise Silent("a label without a class")
    if rows is None:
        return
    wanted = {
        (os.path.realpath(root / row.path), unicodedata.normalize("NFC", row.name), row.split)
        for row in rows
    }
    found = {
        (os.path.realpath(manifest.root / i.path), manifest.classes[i.label], split)
        for split, part in manifest.splits.items()
        for i in part
    }
    found = {(path, unicodedata.normalize("NFC", name), split) for path, name, split in found}
    if wanted != found:
        raise Silent(f"other rows than written: {sorted(wanted ^ found)[:2]}")


def _csv_text(rows: list[Row]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(("path", "label", "split"))
    writer.writerows((row.path, row.name, row.split) for row in rows)
    return stream.getvalue().encode()


def _split_value(rows: list[Row]) -> dict[str, Any]:
    names = sorted({unicodedata.normalize("NFC", row.name) for row in rows})
    label = {name: i for i, name in enumerate(names)}
    return {
        split: [
            [row.path, label[unicodedata.normalize("NFC", row.name)], row.name]
            for row in rows
            if row.split == split
        ]
        for split in SPLITS
    }


def csv_examples(root: Path) -> st.SearchStrategy[Example]:
    names = ("list.csv",)
    whole = lists(root).map(
        lambda rows: Example(
            what=(_csv_text(rows), rows), names=_any(names), is_wrong=_is_wrong(root, rows)
        )
    )
    broken = lists(root).flatmap(lambda rows: damaged_bytes(_csv_text(rows)))
    return st.one_of(whole, broken.map(lambda data: Example(what=(data, None), names=_any(names))))


def split_examples(root: Path) -> st.SearchStrategy[Example]:
    names = ("list.json",)
    whole = lists(root).map(
        lambda rows: Example(
            what=(json.dumps(_split_value(rows)).encode(), rows),
            names=_any(names),
            is_wrong=_is_wrong(root, rows),
        )
    )
    broken = lists(root).flatmap(lambda rows: damaged_json(_split_value(rows)))
    return st.one_of(
        whole, broken.map(lambda pair: Example(what=(pair[0], None), names=_any(names)))
    )


def _any(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*names, "data set")  # what is wrong with the whole is said of the data set by name


def _check(suffix: str, root: Path, example: Example, folder: Path) -> None:
    data, rows = example.what
    path = folder / f"list{suffix}"
    path.write_bytes(data)
    manifest = open_dataset(path, root=root).check(needs=("train", "test"))
    _check_manifest(manifest, root, rows)


def csv_check(root: Path, example: Example, folder: Path) -> None:
    _check(".csv", root, example, folder)


def split_check(root: Path, example: Example, folder: Path) -> None:
    _check(".json", root, example, folder)


CSV = Group(name="csv", material=material, examples=csv_examples, check=csv_check)
SPLIT = Group(name="splits", material=material, examples=split_examples, check=split_check)
