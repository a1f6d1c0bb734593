"""What a matrix of jobs amounts to: all resolved, repeats dropped, learners before generators.

All that is wrong with any job is found here, before the first one starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffuprompt.engine import NULL
from diffuprompt.errors import ConfigError, DiffupromptError
from diffuprompt.jobs import (
    JobConfig,
    Prepared,
    RunFolder,
    Sources,
    folder_of,
    job_to_json,
    missing,
    open_test_set,
    own_test_sets,
    prepare,
    run_of,
)
from diffuprompt.matrix.entry import MatrixJob
from diffuprompt.matrix.records import is_same_job, record_under
from diffuprompt.record import read_record

TASK = "classification"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One job, the folder of its run, and what it waits for.

    Attributes:
        asked: the job, and what of its run is scored.
        prepared: the job, resolved and checked against its data and backbone.
        name: of the run: equal names are equal training results.
        needs: name of the run that trains the learner which this job takes over; None without one.
    """

    asked: MatrixJob
    prepared: Prepared
    name: str
    needs: str | None = None

    @property
    def job(self) -> JobConfig:
        """The job as asked, on the backbone that was chosen for it."""
        return self.prepared.job

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return folder_of(self.prepared)

    @property
    def title(self) -> str:
        """What a person calls it."""
        return " ".join([*self.kind, f"seed {self.job.seed}"])

    @property
    def kind(self) -> tuple[str, ...]:
        """All but the seed: jobs of one kind take about as long."""
        setting = self.job.setting
        name = Path(self.job.data).name
        return (name, self.prepared.resolved.method, *([setting] if setting else []))

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def record(self) -> Path:
        """Where its record appears."""
        return self.folder.record

    def message(self) -> dict[str, Any]:
        """Return what `worker.work` is told, as JSON."""
        evaluation = asdict(self.asked.evaluation)
        return {
            "task": TASK,
            "job": job_to_json(self.job),
            "evaluation": evaluation,
            "tests": list(self.asked.tests),
        }

    def record_as_asked(self) -> bytes:
        """Return the finished record under the setting that is asked here."""
        return record_under(self.job.setting, self.record, read_record)

    def is_repeated_in(self, path: Path) -> bool:
        """Whether a file is a record of the same job, under whatever other settings."""
        return is_same_job(self.job.setting, self.record, path, read_record)

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do.

        Raises:
            ConfigError: the folder holds another run.
            DataError: a further data set to test on cannot be read.
        """
        folder, prepared = self.folder, self.prepared
        if folder.is_open:
            folder.check_same(run_of(prepared))
        if not folder.is_finished:
            return False
        contents = prepared.contents
        tests = own_test_sets(prepared.manifest, prepared.roles.tests, contents, NULL)
        for spec in self.asked.tests:
            outside = self.job.allow_outside
            tests.append(
                open_test_set(spec, self.job.data_root, contents, NULL, allow_outside=outside)
            )
        variants = self.asked.evaluation.variants(prepared.resolved.generator)
        return not missing(read_record(folder.record), tests, variants)


def plan(jobs: Sequence[MatrixJob]) -> tuple[Planned, ...]:
    """Resolve jobs, drop repeats (the first stays), and put learners before what takes them over.

    Raises:
        ConfigError, DataError, CheckpointError: jobs do not fit their data or backbone, or these
            cannot be found; all problems of all jobs at once.
    """
    sources = Sources()
    found: dict[str, Planned] = {}
    problems: dict[str, DiffupromptError] = {}
    for asked in jobs:
        try:
            prepared = prepare(asked.job, sources=sources)
        except DiffupromptError as error:
            problems.setdefault(f"{asked.job.learner}: {error}", error)
            continue
        name = prepared.run_name
        found.setdefault(name, Planned(asked=asked, prepared=prepared, name=name))
    if len(problems) == 1:
        raise next(iter(problems.values()))
    if problems:
        raise ConfigError("\n  ".join(problems))
    return _ordered(list(found.values()))


def _ordered(planned: list[Planned]) -> tuple[Planned, ...]:
    """Let jobs with a generator wait for the job of the same learner without one."""
    alone = {
        p.prepared.chain.learner.key: p.name for p in planned if p.prepared.chain.generator is None
    }
    out = []
    for p in planned:
        chain = p.prepared.chain
        needs = None if chain.generator is None else alone.get(chain.learner.key)
        out.append(Planned(asked=p.asked, prepared=p.prepared, name=p.name, needs=needs))
    return tuple(sorted(out, key=lambda p: p.needs is not None))
