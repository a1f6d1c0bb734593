"""Data sets of Hugging Face `datasets`: Parquet or Arrow files, from a folder or from the hub.

A spec is ``hf:WHERE[:CONFIG][?image=COLUMN&label=COLUMN]``; WHERE is a file, a folder (of Parquet
files, or as ``save_to_disk`` writes it), or a name on the hub, whose Parquet form is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from diffuprompt.data.archives.sample import MAX_PICTURE, Sample, Shard, split_of
from diffuprompt.errors import DataError, near_miss

PREFIX = "hf:"
EXTRA = "pip install 'diffuprompt[datasets]'"
_ENDINGS = (".parquet", ".arrow")
_BATCH = 64  # rows read at a time
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
            DataError: the file is damaged, or a picture is not in it or too large.
        """
        image, label = self.columns.image, self.columns.label
        row = 0
        for batch in _batches(path, [image, label]):
            for picture, value in zip(*batch, strict=True):
                row += 1
                if isinstance(picture, dict):
                    picture = picture.get("bytes")
                if not isinstance(picture, bytes) or len(picture) > MAX_PICTURE:
                    raise DataError(
                        f"{path}: row {row} of {image!r} holds no picture of at most "
                        f"{MAX_PICTURE} bytes; a path to a file elsewhere is not followed"
                    )
                if value is None or value == -1:
                    raise DataError(f"{path}: row {row} has no {label!r}; leave this split out")
                yield Sample(picture=picture, label=value)

    def class_names(self) -> Sequence[str]:
        """Return the names of a column of class labels."""
        return self.columns.names


def find_tables(spec: str) -> Tables:
    """Return the tables that a spec with the prefix ``hf:`` means.

    Raises:
        DataError: pyarrow (or, for a name, huggingface_hub) is not installed, there are no such
            files, several configurations to choose from, or no columns to read.
    """
    _pyarrow()
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
        name=f"{name}-{config}" if config else name, folder=folder, shards=shards, columns=columns
    )


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
    schema = _schema(file)
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
    pa = _pyarrow()
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


def _schema(file: Path) -> Any:
    pa = _pyarrow()
    try:
        if file.suffix == ".arrow":
            with pa.OSFile(str(file)) as stream:
                return pa.ipc.open_stream(stream).schema
        return _parquet().read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _batches(file: Path, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
    """Yield the values of columns, some rows at a time."""
    pa = _pyarrow()
    try:
        if file.suffix == ".arrow":
            with pa.OSFile(str(file)) as stream:
                for batch in pa.ipc.open_stream(stream):
                    yield [batch.column(name).to_pylist() for name in columns]
            return
        with _parquet().ParquetFile(file) as table:
            for batch in table.iter_batches(_BATCH, columns=list(columns)):
                yield [batch.column(name).to_pylist() for name in columns]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _downloaded(spec: str, name: str, config: str) -> Path:
    """Return the folder with the Parquet files of one configuration of a name on the hub."""
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise DataError(f"{spec}: the hub needs huggingface_hub: {EXTRA}") from error
    try:
        files = hub.HfApi().list_repo_files(name, repo_type="dataset", revision=_REVISION)
    except Exception as error:
        raise _no_hub(spec, error) from error
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


def _no_hub(spec: str, error: Exception) -> DataError:
    """Return what to say when the network, the hub or the name fails, whatever it raises."""
    said = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return DataError(
        f"{spec}: neither a path that exists nor a data set that the hub gives ({said})"
    )


def _parquet() -> Any:
    _pyarrow()
    import pyarrow.parquet

    return pyarrow.parquet


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise DataError(f"tables of Hugging Face datasets need pyarrow: {EXTRA}") from error
    return pyarrow
