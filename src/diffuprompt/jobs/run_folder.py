"""The folder of one run: what was asked, which stages it is made of, and whether it is finished.

    RUNS/NAME/  run.json  environment.json  log.txt  stages.json  artifact/  record.json

The stages themselves are kept beside the runs, in ``RUNS/.stages``, so that runs share them;
``stages.json`` leads there. ``record.json`` appears last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diffuprompt.checkpoints import as_path
from diffuprompt.data import absolute_spec
from diffuprompt.engine import write_json
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.jobs.job import ONLY_HERE, JobConfig, Resolved
from diffuprompt.jobs.job_json import job_from_json, job_to_json
from diffuprompt.jobs.specs import absolute_target
from diffuprompt.reading import read_json
from diffuprompt.record import Job
from diffuprompt.runs import StageFolder, Store, digest, locked

SCHEMA, OLD_SCHEMA = "diffuprompt.run/2", "diffuprompt.run/1"
STAGES, RUN = ".stages", "run.json"
_PLACES = ("data", "test_data", "backbone", *ONLY_HERE)
_FIELDS = {"schema", "job", "resolved", "inputs", "stages", "hashes", "checksum"}
_KEY = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The content of ``run.json``.

    Attributes:
        job: as asked, with paths that lead there from everywhere on this machine.
        resolved: every value that the results depend on.
        inputs: by content, as `jobs.prepared.Prepared.inputs`; of a run of 0.1 its hashes of
            "manifest", "subset", "backbone" (weights alone) and "preprocess".
        keys: stage name -> key; empty for a run of 0.1.
        old_inputs: what a run of 0.1 would say of the same inputs; not part of the file.
    """

    job: JobConfig
    resolved: Resolved
    inputs: dict[str, str]
    keys: dict[str, str] = field(default_factory=dict)
    old_inputs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.record_job  # before anything is computed, not after everything is scored

    @property
    def record_job(self) -> Job:
        """What its record will say that was run.

        Raises:
            ConfigError: a name in it is none that a record can hold.
        """
        resolved = self.resolved
        try:
            return Job(
                dataset=resolved.dataset,
                backbone=resolved.backbone.rstrip("/").split("/")[-1],
                learner=resolved.learner,
                generator=resolved.generator,
                protocol=resolved.protocol,
                shots=resolved.shots,
                seed=resolved.seed,
                setting=self.job.setting,
            )
        except ValidationError as error:
            lines = [f"{e['loc'][0]}: {e['msg']}" for e in error.errors(include_url=False)]
            raise ConfigError("\n  ".join(lines)) from error

    @property
    def is_old(self) -> bool:
        """Whether version 0.1 made it."""
        return not self.keys


class RunFolder:
    """``run.json`` first, ``record.json`` last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.artifact, self.record = path / "artifact", path / "record.json"
        self.store = Store(path.parent / STAGES)

    @property
    def is_open(self) -> bool:
        """Whether it belongs to a run already."""
        return (self.path / RUN).exists()

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
        """Keep other processes from working on this run; see `locked`."""
        with locked(self.path, "another process works on this run"):
            yield

    def open(self, run: Run) -> None:
        """Write ``run.json``, or make sure that the folder belongs to the same run.

        Raises:
            ConfigError: the folder holds another run; every difference is named.
        """
        if self.is_open:
            self.check_same(run)
            return
        job = run.job
        asked = job_to_json(job)
        # A path must still lead there from another working directory; a name stays a name, even
        # beside a folder that is called like it.
        backbone = as_path(job.backbone)
        asked["data"] = absolute_spec(job.data)
        asked["test_data"] = [absolute_target(data) for data in job.test_data]
        if backbone is not None:
            asked["backbone"] = str(backbone.resolve())
        if job.data_root is not None:
            asked["data_root"] = str(job.data_root.expanduser().resolve())
        content = {
            "schema": SCHEMA,
            "job": asked,
            "resolved": run.resolved.to_json(),
            "inputs": run.inputs,
            "stages": run.keys,
        }
        write_json(self.path / RUN, {**content, "checksum": _checksum(content)})

    def check_same(self, run: Run) -> None:
        """Raise `ConfigError` naming every difference unless the folder belongs to ``run``."""
        found = read_run(self.path)
        differences = _differences(found.resolved.to_json(), run.resolved.to_json())
        inputs = run.old_inputs if found.is_old else run.inputs
        differences += _differences(found.inputs, inputs, "the content of ")
        if found.is_old and not differences and not self.is_trained:
            differences.append("it was begun by diffuprompt 0.1, which alone can go on with it")
        if differences:
            raise ConfigError(
                f"{self.path}: holds another run; {'; '.join(differences)}. "
                "Name another folder with --out, or delete this one"
            )

    def unlisted(self, test_data: Sequence[str]) -> list[str]:
        """Return those that ``run.json``, which keeps the run's first list, does not name."""
        listed = read_run(self.path).job.test_data if test_data else ()
        return [spec for spec in test_data if absolute_target(spec) not in listed]

    def write_stages(self, folders: Mapping[str, StageFolder]) -> None:
        """Write ``stages.json``: where each stage is, and what was measured when it was made."""
        rows = {
            name: {
                "key": folder.stage.key,
                "folder": f"../{STAGES}/{folder.stage.name}/{folder.stage.key}",
                "values": folder.values(),
            }
            for name, folder in folders.items()
        }
        sealed = {name: {**row, "checksum": digest([name, row])} for name, row in rows.items()}
        write_json(self.path / "stages.json", sealed)

    def stage_values(self) -> dict[str, dict[str, float]]:
        """Return what was measured by each stage of training, for the record.

        Raises:
            DataError: ``stages.json`` is damaged or altered.
        """
        file = self.path / "stages.json"
        if not file.exists():
            return {}
        try:
            rows = read_json(file, error=DataError)
            return {name: _values(name, row) for name, row in rows.items()}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as cause:
            raise DataError(
                f"{file}: damaged ({type(cause).__name__}: {cause}); delete it: what training "
                "measured is then missing from the record"
            ) from cause


def _values(name: str, row: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of one stage; version 0.1 kept them alone, then without a checksum."""
    if "checksum" in row:
        told = {key: value for key, value in row.items() if key != "checksum"}
        if row["checksum"] != digest([name, told]):
            raise ValueError(f"the checksum of {name!r} differs")
    values = row["values"] if {"key", "folder", "values", "checksum"} & set(row) else row
    return {str(key): _number(value) for key, value in values.items()}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {ascii(value)[:80]}")
    return float(value)


def read_run(path: Path) -> Run:
    """Read ``run.json``, of this version or of 0.1.

    Raises:
        DataError: the folder is no run, or its ``run.json`` is damaged, of a later version, or uses
            options that are gone; the message says what can read it.
    """
    file = path / RUN
    if not file.is_file():
        raise DataError(f"{path}: not a run folder (no run.json); make one with diffuprompt train")
    data = read_json(file, error=DataError)
    found = data.get("schema") if isinstance(data, dict) else None
    if found not in (SCHEMA, OLD_SCHEMA):
        raise DataError(
            f"{file}: expected schema {SCHEMA!r} or {OLD_SCHEMA!r}, got {found!r}; a run of a "
            "later version needs that version: pip install --upgrade diffuprompt"
        )
    try:
        checksum = data.get("checksum")
        # A run of before there were checksums has neither that field nor any other.
        if set(data) - _FIELDS or (checksum is not None and checksum != _checksum(data)):
            raise ValueError("its checksum differs")
        return Run(
            job=job_from_json(data["job"]),
            resolved=Resolved.from_json(data["resolved"]),
            inputs=_texts(data["inputs"] if found == SCHEMA else data["hashes"]),
            keys=_keys(data["stages"]) if found == SCHEMA else {},
        )
    except DataError as cause:
        raise DataError(f"{file}: {cause}") from cause
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as cause:
        raise DataError(
            f"{file}: damaged, or of another version ({type(cause).__name__}: {cause}); "
            "train the run again in another folder"
        ) from cause


def _checksum(content: Mapping[str, Any]) -> str:
    """Return a digest of all but where things are on this machine, which a user may correct."""
    job = {key: value for key, value in content["job"].items() if key not in _PLACES}
    rest = {key: content[key] for key in ("schema", "resolved", "inputs", "stages")}
    return digest([job, rest])


def _keys(data: Any) -> dict[str, str]:
    """Return stage name -> key; nothing else may become the name of a folder."""
    keys = _texts(data)
    if "learner" not in keys or any(not _KEY.fullmatch(key) for key in keys.values()):
        raise ValueError(f"stages: expected names with keys of 32 hex digits, got {keys}")
    return keys


def _texts(data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or any(not isinstance(text, str) for text in data.values()):
        raise TypeError(f"expected names with texts, got {ascii(data)[:80]}")
    return dict(data)


def _differences(
    found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    out = []
    for key in sorted(set(found) | set(wanted)):
        a, b, name = found.get(key), wanted.get(key), f"{prefix}{key}"
        if isinstance(a, dict) and isinstance(b, dict):
            out += _differences(a, b, f"{name}.")
        elif a != b and not (isinstance(b, tuple) and a == list(b)):
            out.append(f"{name} is {a!r} there, {b!r} was asked")
    return out
