"""Grounding jobs in a matrix: each waits for the one whose masks it shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffuprompt.jobs import GroundingJobConfig, GroundingRun, grounding_folder, grounding_run
from diffuprompt.matrix.records import is_same_job, record_under
from diffuprompt.record_grounding import read_grounding_record

TASK = "grounding"


@dataclass(frozen=True, kw_only=True)
class PlannedGrounding:
    """One job; see `entry.Runnable`.

    Attributes:
        run: the job with every value that counts.
        needs: name of the run that trains the masks which this one reads; None without one.
    """

    run: GroundingRun
    needs: str | None = None

    @property
    def name(self) -> str:
        """Of the run: equal names are equal results."""
        return self.run.name

    @property
    def title(self) -> str:
        """What a person calls it."""
        return " ".join([*self.kind, f"seed {self.run.job.seed}"])

    @property
    def kind(self) -> tuple[str, ...]:
        """All but the seed: jobs of one kind take about as long."""
        job = self.run.job
        return (Path(job.data).name, job.method, *([job.setting] if job.setting else []))

    @property
    def path(self) -> Path:
        """The run's folder."""
        return grounding_folder(self.run).path

    @property
    def record(self) -> Path:
        """Where its record appears."""
        return grounding_folder(self.run).record

    @property
    def is_finished(self) -> bool:
        """Whether all of its test sets are scored."""
        if not self.record.is_file():
            return False
        asked = self.run.job.test
        return not set(asked) - {one.test for one in read_grounding_record(self.record).tests}

    def message(self) -> dict[str, Any]:
        """Return what `worker.work` is told, as JSON."""
        return {"task": TASK, "job": self.run.job.to_json()}

    def record_as_asked(self) -> bytes:
        """Return the finished record under the setting that is asked here."""
        return record_under(self.run.job.setting, self.record, read_grounding_record)

    def is_repeated_in(self, path: Path) -> bool:
        """Whether a file is a record of the same job, under whatever other settings."""
        return is_same_job(self.run.job.setting, self.record, path, read_grounding_record)


def plan_grounding(jobs: Sequence[GroundingJobConfig]) -> tuple[PlannedGrounding, ...]:
    """Resolve jobs and drop repeats (the first stays); their order remains.

    The first one that reads masks of some training makes them, and the others wait for it.

    Raises:
        ConfigError: a job cannot be; before the first one starts.
    """
    found: dict[str, GroundingRun] = {}
    for job in jobs:
        run = grounding_run(job)
        found.setdefault(run.name, run)
    makers: dict[str, str] = {}  # what masks depend on -> the first run that makes them
    out = []
    for name, run in found.items():
        masks = run.masks
        needs = makers.setdefault(masks, name) if masks else None
        out.append(PlannedGrounding(run=run, needs=None if needs == name else needs))
    return tuple(out)
