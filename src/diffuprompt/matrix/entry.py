"""One entry of a matrix: what a runner needs to know of a job, of whatever task; no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from diffuprompt.jobs import Evaluation, JobConfig


@dataclass(frozen=True, kw_only=True)
class MatrixJob:
    """One classification job, and what of its run is scored.

    ``tests`` are further data sets to score it on, beside its own test images.
    """

    job: JobConfig
    evaluation: Evaluation = field(default_factory=Evaluation)
    tests: tuple[str, ...] = ()


class Runnable(Protocol):
    """One job with a folder, in which a process of its own leaves a record."""

    @property
    def name(self) -> str:
        """Of the run: equal names are equal results."""

    @property
    def needs(self) -> str | None:
        """Name of the run that it waits for; None without one."""

    @property
    def title(self) -> str:
        """What a person calls it."""

    @property
    def kind(self) -> tuple[str, ...]:
        """All but the seed: jobs of one kind take about as long."""

    @property
    def path(self) -> Path:
        """The run's folder."""

    @property
    def record(self) -> Path:
        """Where its record appears."""

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""

    def message(self) -> dict[str, Any]:
        """Return what `worker.work` is told, as JSON."""

    def record_as_asked(self) -> bytes:
        """Return the finished record under the setting that is asked here."""

    def is_repeated_in(self, path: Path) -> bool:
        """Whether a file is a record of the same job, under whatever other settings."""
