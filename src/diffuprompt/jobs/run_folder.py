"""The folder of one run: what it was asked, what it has done, and whether it is finished."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from diffuprompt.checkpoints.load import as_path
from diffuprompt.data.catalog import names
from diffuprompt.engine.files import read_json, write_json
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.jobs.job import JobConfig, Resolved

SCHEMA = "diffuprompt.run/1"
_PATHS = ("data_root", "out", "runs_dir")
log = logging.getLogger(__name__)


class RunFolder:
    """``run.json`` first, ``record.json`` last; stages in between note their results here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint, self.artifact = path / "checkpoint", path / "artifact"
        self.record = path / "record.json"

    @property
    def is_open(self) -> bool:
        """Whether it belongs to a run already."""
        return (self.path / "run.json").exists()

    @property
    def is_trained(self) -> bool:
        """Whether training is complete."""
        return (self.artifact / "artifact.json").is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the run is evaluated."""
        return self.record.is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from working on this run; wait while one of them does.

        The lock is the operating system's where it has one for files, so that a process that is
        killed gives the run free. It must not be taken twice by one process.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.warning("%s: another process works on this run; waiting for it to end", self.path)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def open(self, job: JobConfig, resolved: Resolved, hashes: dict[str, str]) -> None:
        """Write ``run.json``, or make sure that the folder belongs to the same run.

        Raises:
            ConfigError: the folder holds another run; every difference is named.
        """
        file = self.path / "run.json"
        wanted = {"resolved": resolved.to_json(), "hashes": hashes}
        if self.is_open:
            found = read_json(file, error=DataError)
            differences = _differences(found.get("resolved", {}), wanted["resolved"])
            differences += _differences(found.get("hashes", {}), hashes)
            if differences:
                raise ConfigError(
                    f"{self.path}: holds another run; {'; '.join(differences)}. "
                    "Name another folder with --out, or delete this one"
                )
            return
        asked = job_to_json(job)
        # A path must still lead there from another working directory; a name stays a name, even
        # beside a folder that is called like it.
        data = Path(job.data).expanduser()
        backbone = as_path(job.backbone)
        if job.data not in names() and data.exists():
            asked["data"] = str(data.resolve())
        if backbone is not None:
            asked["backbone"] = str(backbone.resolve())
        if job.data_root is not None:
            asked["data_root"] = str(job.data_root.expanduser().resolve())
        write_json(file, {"schema": SCHEMA, "job": asked, **wanted})

    def note(self, stage: str, values: dict[str, float]) -> None:
        """Keep what a stage measured; a stage is noted once, also over interruptions."""
        stages = self.notes()
        if stage not in stages:
            write_json(self.path / "stages.json", {**stages, stage: values})

    def notes(self) -> dict[str, dict[str, float]]:
        """Return what stages have measured."""
        file = self.path / "stages.json"
        notes: dict[str, dict[str, float]] = read_json(file) if file.exists() else {}
        return notes


def job_to_json(job: JobConfig) -> dict[str, Any]:
    """Return a job as asked in a form that JSON knows."""
    return {k: str(v) if k in _PATHS and v else v for k, v in dataclasses.asdict(job).items()}


def job_from_json(data: Mapping[str, Any]) -> JobConfig:
    """Inverse of `job_to_json`; raises KeyError, TypeError or `ConfigError` for other data."""
    job = dict(data)
    for key in _PATHS:
        job[key] = Path(job[key]) if job[key] else None
    job["overrides"] = tuple(job["overrides"])
    return JobConfig(**job)


def read_run(path: Path) -> tuple[JobConfig, Resolved]:
    """Read ``run.json``: the job as asked and as resolved.

    Raises:
        DataError: the folder is no run, or its ``run.json`` is damaged.
    """
    file = path / "run.json"
    if not file.is_file():
        raise DataError(f"{path}: not a run folder (no run.json); make one with diffuprompt train")
    data = read_json(file, error=DataError)
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise DataError(f"{file}: expected schema {SCHEMA!r}, got {found!r}")
    try:
        return job_from_json(data["job"]), Resolved.from_json(data["resolved"])
    except (KeyError, TypeError, ValueError) as cause:
        raise DataError(
            f"{file}: damaged, or of another version ({type(cause).__name__}: {cause}); "
            "train the run again in another folder"
        ) from cause


def _differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    out = []
    for key in sorted(set(found) | set(wanted)):
        a, b, name = found.get(key), wanted.get(key), f"{prefix}{key}"
        if isinstance(a, dict) and isinstance(b, dict):
            out += _differences(a, b, f"{name}.")
        elif a != b and not (isinstance(b, tuple) and a == list(b)):
            out.append(f"{name} is {a!r} there, {b!r} was asked")
    return out
