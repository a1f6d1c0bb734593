"""Records of a matrix under the setting that a study asks for.

Runs of equal settings are one run, which holds the name under which it was asked first, maybe by
another study.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from diffuprompt.errors import DataError
from diffuprompt.reading import read_json
from diffuprompt.record import Job, Record
from diffuprompt.record_grounding import GroundingJob, GroundingRecord

Kind = TypeVar("Kind", Record, GroundingRecord)
REPLACED = ".replaced"  # folder of records that gave way, beside those that took their place


def record_under(setting: str, path: Path, read: Callable[[Path], Kind]) -> bytes:
    """Return the finished record at ``path`` under a setting; ``read`` is that of its task."""
    record = read(path)
    job = _job_under(setting, record)
    if job == record.job:
        return path.read_bytes()
    return (record.model_copy(update={"job": job}).model_dump_json(indent=1) + "\n").encode()


def is_same_job(setting: str, path: Path, other: Path, read: Callable[[Path], Kind]) -> bool:
    """Whether ``other`` is a record of the job of ``path``, under whatever other settings."""
    try:
        found = read(other).job
    except DataError:  # another file, such as a study's summary
        return False
    return found == _job_under(setting, read(path))


def loses_scores(path: Path, data: bytes) -> bool:
    """Whether the file at ``path`` has scores that the record ``data`` has not, or is no record."""
    try:
        found = _scored(read_json(path, error=DataError))
    except (DataError, AttributeError, KeyError, TypeError):
        return True
    return bool(found - _scored(json.loads(data)))


def set_aside(path: Path) -> Path:
    """Move a record into a hidden folder beside it, which no report reads; return where it is."""
    folder = path.parent / REPLACED
    folder.mkdir(exist_ok=True)
    taken, target = 1, folder / path.name
    while target.exists():
        taken += 1
        target = folder / f"{path.stem}-{taken}{path.suffix}"
    return path.rename(target)


def _scored(record: Any) -> set[str]:
    """Return names of the scores of a record of any task."""
    scores = [[s["variant"], s["dataset"], s["subset"]] for s in record.get("scores", ())]
    tests = [test["test"] for test in record.get("tests", ())]
    return {json.dumps(one, sort_keys=True) for one in (*scores, *tests)}


def _job_under(setting: str, record: Record | GroundingRecord) -> Job | GroundingJob:
    return record.job.model_copy(update={"setting": setting})
