"""Parquet and Arrow files: their columns, some rows at a time, and what to say of broken ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffuprompt.errors import DataError

EXTRA = "pip install 'diffuprompt[datasets]'"
_BATCH = 64  # rows read at a time


def schema_of(file: Path) -> Any:
    """Return the schema of a file; raises `DataError` where it cannot be read."""
    pa = load_pyarrow()
    try:
        if file.suffix == ".arrow":
            with pa.OSFile(str(file)) as stream:
                return pa.ipc.open_stream(stream).schema
        return _parquet().read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def batches(file: Path, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
    """Yield the values of columns, some rows at a time; raises `DataError` as `schema_of` does."""
    pa = load_pyarrow()
    try:
        if file.suffix == ".arrow":
            with pa.OSFile(str(file)) as stream:
                for batch in pa.ipc.open_stream(stream):
                    yield [batch.column(name).to_pylist() for name in columns]
            return
        with _parquet().ParquetFile(file) as table:
            for batch in table.iter_batches(_BATCH, columns=list(columns)):
                yield [batch.column(name).to_pylist() for name in columns]
    except (pa.ArrowException, OSError, KeyError) as error:  # KeyError: it lacks a column
        raise DataError(f"{file}: cannot be read ({error})") from error


def _parquet() -> Any:
    load_pyarrow()
    import pyarrow.parquet

    return pyarrow.parquet


def load_pyarrow() -> Any:
    """Return the module; raises `DataError` where it is not installed."""
    try:
        import pyarrow
    except ImportError as error:
        raise DataError(f"tables of Hugging Face datasets need pyarrow: {EXTRA}") from error
    return pyarrow
