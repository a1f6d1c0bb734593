"""One entry of a matrix; no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffuprompt.jobs import Evaluation, JobConfig


@dataclass(frozen=True, kw_only=True)
class MatrixJob:
    """One job, and what of its run is scored."""

    job: JobConfig
    evaluation: Evaluation = field(default_factory=Evaluation)
