"""Which jobs a study is made of; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffuprompt.errors import ConfigError
from diffuprompt.protocols.job import JobConfig


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all jobs of a study have in common; the fields are `JobConfig`'s."""

    data: str
    data_root: Path | None = None
    backbone: str = "scenes-clip"
    shots: int = 16
    overrides: tuple[str, ...] = ()
    runs_dir: Path = Path("runs")
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"

    def job(self, learner: str, seed: int, *, generator: str = "none") -> JobConfig:
        """Return one base-to-new job of the study."""
        return JobConfig(
            data=self.data,
            data_root=self.data_root,
            backbone=self.backbone,
            learner=learner,
            generator=generator,
            shots=self.shots,
            seed=seed,
            protocol="base-to-new",
            overrides=self.overrides,
            runs_dir=self.runs_dir,
            precision=self.precision,
            device=self.device,
        )


def base_to_new(
    shared: Shared, learners: Sequence[str], seeds: Sequence[int]
) -> tuple[JobConfig, ...]:
    """Return every learner with every seed, seed by seed, so that early results cover all.

    Raises `ConfigError` naming every job that cannot be.
    """
    jobs: list[JobConfig] = []
    problems: list[str] = []
    for seed in seeds:
        for learner in learners:
            try:
                jobs.append(shared.job(learner, seed))
            except ConfigError as error:
                problems.append(f"{learner}: {error}")
    if problems:
        raise ConfigError("\n  ".join(dict.fromkeys(problems)))
    return tuple(jobs)
