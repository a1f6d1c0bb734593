"""A job as asked in a form that JSON knows: for ``run.json`` and for workers of a matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.kinds import check_kinds

_PATHS = ("data_root", "out", "runs_dir")
_LISTS = ("train_domains", "test_data", "templates")  # which runs of before them lack


def job_to_json(job: JobConfig) -> dict[str, Any]:
    """Return a job as asked in a form that JSON knows."""
    return {k: str(v) if k in _PATHS and v else v for k, v in dataclasses.asdict(job).items()}


def job_from_json(data: Mapping[str, Any]) -> JobConfig:
    """Inverse of `job_to_json`; raises KeyError, TypeError or `ConfigError` for other data."""
    job = dict(data)
    check_kinds(JobConfig, job)
    for key in _PATHS:
        job[key] = Path(job[key]) if job[key] else None
    for key in ("overrides", *(key for key in _LISTS if key in job)):
        job[key] = tuple(job[key])
    return JobConfig(**job)
