"""Write the pictures of an archive out once: from then on they are an ordinary data set.

The folder is called by what it is made from, so that other bytes get another folder. It holds
``images/<file>/<number>.jpg``, a list for each file that is done, so that whatever is interrupted
goes on behind the last whole file, and ``split.json`` in the community's form, for other programs.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from diffuprompt.data.archives.sample import Archive, Shard, ending_of
from diffuprompt.data.folders import hash_split
from diffuprompt.data.manifest import MAX_SHOWN, Item, Manifest
from diffuprompt.data.paths import has_content
from diffuprompt.data.splitfile import write_split_file
from diffuprompt.engine import LogProgress
from diffuprompt.errors import DataError, writing
from diffuprompt.reading import read_json
from diffuprompt.runs import Contents, cache_root, digest, locked

log = logging.getLogger(__name__)
KIND = "archives"
VERSION = 1
Row = tuple[str, str | int]  # path, label as the archive says it


def materialise(archive: Archive, cache: Path | None = None) -> Manifest:
    """Return the data set that the pictures of ``archive`` make; they are written where missing.

    Files whose place names train, val or test belong to it; where there is no test, val is tested
    on, as with ImageNet, and where no file names a split, `hash_split` makes them. Labels that are
    numbers keep their order, others are sorted.

    Raises:
        DataError: some files name a split and others do not, or `Archive.read` says why.
        StorageError: there is no room.
    """
    shards = archive.shards
    unnamed = [shard.path for shard in shards if shard.split is None]
    if unnamed and len(unnamed) < len(shards):
        raise DataError(
            f"{archive.folder}: {len(unnamed)} of {len(shards)} files name no split "
            f"(e.g. {unnamed[0].name}); expected train, val or test in every name or in none"
        )
    hashes = Contents().hash_all([[shard.path] for shard in shards])
    made_of = [VERSION, archive.asked, list(archive.class_names())]
    made_of += [[shard.split, content] for shard, content in zip(shards, hashes, strict=True)]
    root = (cache_root() if cache is None else cache) / KIND / digest(made_of)[:16]
    with locked(root, "another process writes these pictures"):
        groups = _written(archive, root)
        return _manifest(archive, root, groups)


def _written(archive: Archive, root: Path) -> list[list[Row]]:
    """Return the rows of every file, writing the pictures of those that are not done."""
    groups: list[list[Row]] = []
    with LogProgress(log).task(f"unpacking {archive.name}", total=len(archive.shards)) as task:
        for number, shard in enumerate(archive.shards):
            done = root / "done" / f"{number:05d}.json"
            rows = _remembered(done, root)
            if rows is None:
                rows = _unpack(archive, shard, root, f"images/{number:05d}")
                _write_json(done, rows)
            groups.append(rows)
            task.advance()
    return groups


def _remembered(done: Path, root: Path) -> list[Row] | None:
    """Return the rows of a file that was unpacked, None where pictures are gone or empty."""
    if not done.is_file():
        return None
    rows = [(str(path), label) for path, label in read_json(done, error=DataError)]
    return rows if all(has_content(root / path) for path, _ in rows) else None


def _unpack(archive: Archive, shard: Shard, root: Path, inside: str) -> list[Row]:
    rows: list[Row] = []
    with writing(root / inside):
        (root / inside).mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(archive.read(shard.path)):
        path = f"{inside}/{number:06d}.{ending_of(sample.picture)}"
        with writing(root / path, len(sample.picture)):
            (root / path).write_bytes(sample.picture)
        rows.append((path, sample.label))
    if not rows:
        raise DataError(f"{shard.path}: no picture with a label in it")
    return rows


def _manifest(archive: Archive, root: Path, groups: list[list[Row]]) -> Manifest:
    said = {label for rows in groups for _, label in rows}
    order, names = _classes(archive, said)
    label_of = {value: label for label, value in enumerate(order)}
    splits: dict[str, tuple[Item, ...]]
    if archive.shards[0].split is None:
        rows = [(path, label_of[value]) for group in groups for path, value in group]
        splits = hash_split(rows)
    else:
        splits = {}
        for shard, group in zip(archive.shards, groups, strict=True):
            items = tuple(Item(path, label_of[value]) for path, value in group)
            splits[str(shard.split)] = splits.get(str(shard.split), ()) + items
        if "test" not in splits:
            splits = _with_test(archive, splits)
    manifest = Manifest(archive.name, root, names, splits)
    write_split_file(root / "split.json", manifest)
    return manifest


def _with_test(
    archive: Archive, splits: dict[str, tuple[Item, ...]]
) -> dict[str, tuple[Item, ...]]:
    if "val" in splits:
        log.warning("%s: no test files; testing on the validation pictures", archive.folder)
        return {"train": splits.get("train", ()), "test": splits["val"]}
    return hash_split([(item.path, item.label) for item in splits["train"]])


def _classes(archive: Archive, said: set[str | int]) -> tuple[Sequence[str | int], tuple[str, ...]]:
    """Return the labels in order as the archive says them, and their names."""
    numbers = sorted(label for label in said if isinstance(label, int))
    texts = sorted(label for label in said if isinstance(label, str))
    if numbers and texts:
        raise DataError(
            f"{archive.folder}: labels are numbers and names, e.g. {numbers[0]} and {texts[0]!r}"
        )
    known = archive.class_names()
    if not known or texts:
        return (numbers or texts), tuple(map(str, numbers or texts))
    beyond = [number for number in numbers if not 0 <= number < len(known)]
    if beyond:
        shown = beyond[:MAX_SHOWN]
        raise DataError(f"{archive.folder}: labels {shown} have no name; there are {len(known)}")
    return range(len(known)), tuple(known)


def _write_json(file: Path, value: object) -> None:
    fresh = file.with_name(f".{file.name}")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        os.replace(fresh, file)
