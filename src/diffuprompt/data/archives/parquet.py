"""Data sets of Hugging Face `datasets`: Parquet or Arrow files, from a folder or from the hub.

A spec is ``hf:WHERE[:CONFIG][?image=COLUMN&label=COLUMN]``; WHERE is a file, a folder (of Parquet
files, or as ``save_to_disk`` writes it), or a name on the hub, whose Parquet form is downloaded.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from diffuprompt.data.archives.arrow import EXTRA, batches, load_pyarrow, schema_of
from diffuprompt.data.archives.sample import MAX_PICTURE, Sample, Shard, split_of
from diffuprompt.errors import DataError, near_miss

log = logging.getLogger(__name__)
PREFIX = "hf:"
_ENDINGS = (".parquet", ".arrow")
_NO_LABEL = (None, -1)  # what a benchmark writes where it keeps its labels to itself
_REVISION = "refs/convert/parquet"  # where the hub keeps the Parquet form of every data set


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns hold pictures and labels, and the names of labels that are numbers."""

    image: str
    label: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Parquet or Arrow files of one configuration; see `Archive`."""

    name: str
    folder: Path
    shards: tuple[Shard, ...]
    columns: Columns

    @property
    def asked(self) -> str:
        """The columns that are read."""
        return f"parquet {self.columns}"

    def read(self, path: Path) -> Iterator[Sample]:
        """Yield the rows of one file that have a label.

        Raises:
            DataError: the file is damaged, a picture is not in it or too large, or a label is
                neither a number nor a name.
        """
        image, label = self.columns.image, self.columns.label
        row = 0
        for batch in batches(path, [image, label]):
            for picture, value in zip(*batch, strict=True):
                row += 1
                if isinstance(picture, dict):
                    picture = picture.get("bytes")
                if not isinstance(picture, bytes) or len(picture) > MAX_PICTURE:
                    raise DataError(
                        f"{path}: row {row} of {image!r} holds no picture of at most "
                        f"{MAX_PICTURE} bytes; a path to a file elsewhere is not followed"
                    )
                if value in _NO_LABEL:
                    raise DataError(f"{path}: row {row} has no {label!r}, and others of it do")
                if not isinstance(value, int | str):
                    raise DataError(
                        f"{path}: row {row} of {label!r}: expected a number or a name, got a value "
                        f"of type {type(value).__name__}; choose another column by ?label=COLUMN"
                    )
                yield Sample(picture=picture, label=value)

    def class_names(self) -> Sequence[str]:
        """Return the names of a column of class labels."""
        return self.columns.names


def find_tables(spec: str) -> Tables:
    """Return the tables that a spec with the prefix ``hf:`` means.

    A split in which no row has a label, as benchmarks publish their tests, is left out.

    Raises:
        DataError: pyarrow (or, for a name, huggingface_hub) is not installed, there are no such
            files, several configurations to choose from, no columns to read, or no label at all.
    """
    load_pyarrow()
    where, _, query = spec.removeprefix(PREFIX).partition("?")
    wanted = dict(parse_qsl(query))
    if set(wanted) - {"image", "label"}:
        raise DataError(f"{spec}: expected ?image=COLUMN&label=COLUMN behind the name")
    path, config = Path(where).expanduser(), ""
    if not path.exists() and ":" in where:
        where, _, config = where.rpartition(":")
        path = Path(where).expanduser()
    name = path.resolve().stem if path.exists() else where.rpartition("/")[2]
    if not path.exists():
        path = _downloaded(spec, where, config)
    files = [path] if path.is_file() else _chosen(spec, path, config)
    folder = path.parent if path.is_file() else path
    shards = tuple(
        Shard(path=file, split=split_of(file.relative_to(folder).parts)) for file in files
    )
    columns = _columns(spec, files[0], wanted)
    return Tables(
        name=f"{name}-{config}" if config else name,
        folder=folder,
        shards=_labelled(spec, shards, columns.label),
        columns=columns,
    )


def _labelled(spec: str, shards: tuple[Shard, ...], label: str) -> tuple[Shard, ...]:
    """Return the files without those of splits in which no row has a label."""
    without = [
        split
        for split in dict.fromkeys(shard.split for shard in shards)
        if not any(_has_label(shard.path, label) for shard in shards if shard.split == split)
    ]
    left = tuple(shard for shard in shards if shard.split not in without)
    if not left:
        raise DataError(f"{spec}: no row has a {label!r}; choose another column by ?label=COLUMN")
    for split in without:
        log.warning("%s: no row of %s has a %r, so it is left out", spec, split, label)
    return left


def _has_label(path: Path, label: str) -> bool:
    """Whether a row of a file has one; reads as far as the first."""
    return any(v not in _NO_LABEL for (values,) in batches(path, [label]) for v in values)


def _chosen(spec: str, folder: Path, config: str) -> list[Path]:
    """Return the files of one configuration: those in folders that name no split."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix in _ENDINGS and file.is_file() and not file.name.startswith("cache-"):
            inside = file.relative_to(folder).parts[:-1]
            groups.setdefault(_configuration(inside), []).append(file)
    if not groups:
        raise DataError(f"{spec}: no {' or '.join(_ENDINGS)} files below {folder}")
    return groups[_one(spec, config, tuple(groups))]


def _configuration(folders: Sequence[str]) -> str:
    """Return the configuration that the folders above a file name, empty for none."""
    return "/".join(part for part in folders if part != "data" and split_of([part]) is None)


def _one(spec: str, config: str, known: tuple[str, ...]) -> str:
    """Return the configuration that was asked for, or the only or the default one."""
    listed = ", ".join(name or "(none)" for name in known)
    if config and config not in known:
        hint = near_miss(config, known)
        raise DataError(f"{spec}: no configuration {config!r}; there are {listed}.{hint}")
    if config or len(known) == 1:
        return config or known[0]
    for usual in ("default", ""):
        if usual in known:
            return usual
    raise DataError(f"{spec}: expected one of {listed} behind the name and a ':'")


def _columns(spec: str, file: Path, wanted: dict[str, str]) -> Columns:
    """Return the columns by what the table says of them: one picture, one class label."""
    schema = schema_of(file)
    said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = said.get("info", {}).get("features", {})
    kinds = {name: _kind(features.get(name), schema.field(name).type) for name in schema.names}
    found: dict[str, str] = {}
    for role, fallback in (("image", ()), ("label", ("text", "number"))):
        exact = [name for name, kind in kinds.items() if kind == role]
        named = [name for name, kind in kinds.items() if kind in fallback and name == role]
        name = wanted.get(role) or next(iter(exact if len(exact) == 1 else named), "")
        if name not in kinds or not name:
            have = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise DataError(
                f"{spec}: which column is the {role}? Name it as ?{role}=COLUMN; there are {have}"
            )
        found[role] = name
    names = features.get(found["label"], {}).get("names", [])
    return Columns(image=found["image"], label=found["label"], names=tuple(map(str, names)))


def _kind(feature: Any, stored: Any) -> str:
    """Return what a column is: image, label, text, number or other."""
    pa = load_pyarrow()
    declared = feature.get("_type") if isinstance(feature, dict) else None
    if declared in ("Image", "ClassLabel"):
        return "image" if declared == "Image" else "label"
    if pa.types.is_struct(stored):
        return "image" if stored.get_field_index("bytes") >= 0 else "other"
    if pa.types.is_binary(stored) or pa.types.is_large_binary(stored):
        return "image"
    if pa.types.is_string(stored) or pa.types.is_large_string(stored):
        return "text"
    return "number" if pa.types.is_integer(stored) else "other"


def _downloaded(spec: str, name: str, config: str) -> Path:
    """Return the folder with the Parquet files of one configuration of a name on the hub.

    Without the network it is what was fetched before.
    """
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise DataError(f"{spec}: the hub needs huggingface_hub: {EXTRA}") from error
    try:
        files = hub.HfApi().list_repo_files(name, repo_type="dataset", revision=_REVISION)
    except Exception as error:
        before = _fetched_before(name)
        if before is None:
            raise _no_hub(spec, error) from error
        log.warning("%s: the hub does not answer; taken as it was fetched before", spec)
        return before
    tables = [file for file in files if file.endswith(".parquet")]
    known = sorted({_configuration(file.split("/")[:-1]) for file in tables})
    if not known:
        raise DataError(f"{spec}: the hub has no Parquet form of it")
    config = _one(spec, config, tuple(known))
    wanted = [file for file in tables if _configuration(file.split("/")[:-1]) == config]
    try:
        folder = hub.snapshot_download(
            name, repo_type="dataset", revision=_REVISION, allow_patterns=wanted
        )
    except Exception as error:
        raise _no_hub(spec, error) from error
    return Path(folder)


def _fetched_before(name: str) -> Path | None:
    """Return the folder of what lies in the hub's cache, None where nothing does, or not all."""
    import huggingface_hub as hub

    try:
        folder = hub.snapshot_download(
            name, repo_type="dataset", revision=_REVISION, local_files_only=True
        )
    except Exception:  # of many kinds, and the caller has the one that matters
        return None
    begun = (Path(folder).parent.parent / "blobs").glob("*.incomplete")
    return None if any(begun) else Path(folder)


def _no_hub(spec: str, error: Exception) -> DataError:
    """Return what to say when the network, the hub or the name fails, whatever it raises."""
    said = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return DataError(
        f"{spec}: neither a path that exists nor a data set that the hub gives ({said})"
    )
