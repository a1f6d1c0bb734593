"""Whether records may stand in one table: the same data and weights, and in a row one config."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from diffuprompt.errors import DataError
from diffuprompt.record import Record
from diffuprompt.report.load import Source

HASHES = ("backbone", "manifest", "preprocess")  # weights, images and split, how images are read
OF_TABLE = "give the report only the records of one version, or make the others again"
OF_ROW = (
    "they would pass for seeds of one another: give the report only those of one configuration, or "
    "train the others with --setting NAME, which shows them as an ablation"
)
ABSENT = "absent"

_Seen = dict[str, dict[str, list[str]]]  # what -> value -> files


def check_alike(sources: Sequence[Source]) -> None:
    """Check the records of one table.

    All share the hashes of backbone, manifest and preprocessing and the numbers of test images; the
    seeds of one learner, generator and setting share their whole configuration, precision included.

    Raises `DataError` naming every field that differs, its values and their files.
    """
    table: _Seen = defaultdict(lambda: defaultdict(list))
    rows: dict[tuple[str, str, str], list[Source]] = defaultdict(list)
    for source in sources:
        job = source.record.job
        rows[job.learner, job.generator, job.setting].append(source)
        for what, value in _of_table(source.record):
            table[what][value].append(str(source.path))
    problems = _disagreements("one table", table, OF_TABLE)
    for key, found in rows.items():
        name = "/".join(part for part in key if part)
        problems += _disagreements(f"the row {name}", _configs(found), OF_ROW)
    if problems:
        raise DataError("\n".join(problems))


def _of_table(record: Record) -> Iterator[tuple[str, str]]:
    for name in HASHES:
        if name in record.hashes:
            yield f"{name} hash", record.hashes[name]
    for subset, total in sorted({(s.subset, s.total) for s in record.scores}):
        yield f"number of {subset} test images", str(total)


def _configs(sources: Sequence[Source]) -> _Seen:
    flat = [dict(_fields(source.record.config)) for source in sources]
    out: _Seen = defaultdict(lambda: defaultdict(list))
    for field in sorted({field for one in flat for field in one} - {"seed"}):
        for source, one in zip(sources, flat, strict=True):
            out[f"config {field}"][one.get(field, ABSENT)].append(str(source.path))
    return out


def _fields(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten sections: ``("train.epochs", "10")``."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value)


def _disagreements(where: str, seen: _Seen, remedy: str) -> list[str]:
    out = []
    for what, values in sorted(seen.items()):
        if len(values) > 1:
            lines = [f"  {value}: {', '.join(files)}" for value, files in sorted(values.items())]
            out.append(f"records of {where} disagree on the {what}:\n" + "\n".join(lines))
    return [*out, f"  {remedy}"] if out else []
