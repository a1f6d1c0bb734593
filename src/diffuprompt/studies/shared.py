"""What the jobs of a study have in common, and how they are made; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from diffuprompt.errors import ConfigError
from diffuprompt.jobs import Evaluation, JobConfig
from diffuprompt.matrix import MatrixJob


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all jobs of a study have in common; the fields are `JobConfig`'s."""

    data: str
    data_root: Path | None = None
    backbone: str = "auto"
    shots: int = 16
    overrides: tuple[str, ...] = ()
    runs_dir: Path = Path("runs")
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"

    def job(
        self,
        learner: str,
        seed: int,
        *,
        generator: str = "none",
        setting: str = "",
        protocol: str = "base-to-new",
    ) -> JobConfig:
        """Return one job of the study; ``setting`` is also an override."""
        return JobConfig(
            data=self.data,
            data_root=self.data_root,
            backbone=self.backbone,
            learner=learner,
            generator=generator,
            shots=self.shots,
            seed=seed,
            protocol=protocol,
            overrides=(*self.overrides, setting) if setting else self.overrides,
            setting=setting,
            runs_dir=self.runs_dir,
            precision=self.precision,
            device=self.device,
        )


@dataclass(frozen=True)
class Asked:
    """What one job of a study has of its own; ``tests`` are `MatrixJob`'s."""

    learner: str
    seed: int
    generator: str = "none"
    evaluation: Evaluation = field(default_factory=Evaluation)
    setting: str = ""
    protocol: str = "base-to-new"
    tests: tuple[str, ...] = ()


def make_jobs(shared: Shared, asked: Sequence[Asked]) -> tuple[MatrixJob, ...]:
    """Return the jobs in the order in which they are asked for.

    Raises `ConfigError` naming every job that cannot be.
    """
    jobs: list[MatrixJob] = []
    problems: list[str] = []
    for a in asked:
        try:
            job = shared.job(
                *(a.learner, a.seed),
                generator=a.generator,
                setting=a.setting,
                protocol=a.protocol,
            )
        except ConfigError as error:
            problems.append(f"{a.learner}: {error}")
        else:
            jobs.append(MatrixJob(job=job, evaluation=a.evaluation, tests=a.tests))
    if problems:
        raise ConfigError("\n  ".join(dict.fromkeys(problems)))
    return tuple(jobs)
