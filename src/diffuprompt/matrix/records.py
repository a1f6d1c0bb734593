"""Records of a matrix under the setting that a study asks for.

Runs of equal settings are one run, which holds the name under which it was asked first, maybe by
another study.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from diffuprompt.errors import DataError
from diffuprompt.record import Job, Record
from diffuprompt.record_grounding import GroundingJob, GroundingRecord

Kind = TypeVar("Kind", Record, GroundingRecord)


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


def _job_under(setting: str, record: Record | GroundingRecord) -> Job | GroundingJob:
    return record.job.model_copy(update={"setting": setting})
