"""What the jobs of a study have in common, and how they are made; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.jobs import GENERATORS, NO_GENERATOR, Evaluation, JobConfig
from diffuprompt.learners import METHODS
from diffuprompt.matrix import MatrixJob


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all jobs of a study have in common; the fields are `JobConfig`'s."""

    data: str
    data_root: Path | None = None
    layout: Literal["auto", "domains"] = "auto"
    test_data: tuple[str, ...] = ()
    protocol: str = "base-to-new"
    backbone: str = "auto"
    shots: int = 16
    overrides: tuple[str, ...] = ()
    setting: str = ""
    runs_dir: Path = Path("runs")
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"

    def job(
        self,
        learner: str,
        seed: int,
        *,
        generator: str = NO_GENERATOR,
        setting: str = "",
        shots: int | None = None,
        train_domains: tuple[str, ...] = (),
    ) -> JobConfig:
        """Return one job of the study; ``setting`` is also an override, named after the study's."""
        return JobConfig(
            data=self.data,
            data_root=self.data_root,
            layout=self.layout,
            train_domains=train_domains,
            test_data=self.test_data,
            backbone=self.backbone,
            learner=learner,
            generator=generator,
            shots=self.shots if shots is None else shots,
            seed=seed,
            protocol=self.protocol,
            overrides=(*self.overrides, setting) if setting else self.overrides,
            setting=" ".join(name for name in (self.setting, setting) if name),
            runs_dir=self.runs_dir,
            precision=self.precision,
            device=self.device,
        )


@dataclass(frozen=True)
class Asked:
    """What one job of a study has of its own."""

    learner: str
    seed: int
    generator: str = NO_GENERATOR
    evaluation: Evaluation = field(default_factory=Evaluation)
    setting: str = ""
    shots: int | None = None  # None: as all jobs of the study
    train_domains: tuple[str, ...] = ()


def find_methods(learners: Sequence[str], generators: Sequence[str]) -> list[tuple[str, str]]:
    """Return each learner with each generator, ``"none"`` among them for its own prompts.

    Without ``learners`` all; with a generator then those that have prompts to generate.
    Raises `ConfigError` for no generator, and for one that there is not.
    """
    unknown = [name for name in generators if name not in GENERATORS]
    if unknown or not generators:
        hint = near_miss(unknown[0], GENERATORS) if unknown else ""
        raise ConfigError(
            f"--generators: expected some of {', '.join(GENERATORS)}; "
            f"got {', '.join(unknown) or 'none of them'}.{hint}"
        )
    return [
        (learner, generator)
        for generator in dict.fromkeys(generators)
        for learner in dict.fromkeys(learners or METHODS)
        if learners or generator == NO_GENERATOR or METHODS[learner].options.generates
    ]


def evaluation_of(generator: str, *, open_world: bool = False) -> Evaluation:
    """Return what a benchmark scores: of generated prompts beside them the deciding controls."""
    if generator == NO_GENERATOR:
        return Evaluation(open_world=open_world)
    return Evaluation(controls="basic", oracle=False, open_world=open_world)


def make_jobs(shared: Shared, asked: Sequence[Asked]) -> tuple[MatrixJob, ...]:
    """Return the jobs in the order in which they are asked for.

    Raises `ConfigError` naming every job that cannot be.
    """
    jobs: list[MatrixJob] = []
    problems: dict[str, list[str]] = {}  # what is wrong -> of which learners
    for a in asked:
        try:
            job = shared.job(
                a.learner,
                a.seed,
                generator=a.generator,
                setting=a.setting,
                shots=a.shots,
                train_domains=a.train_domains,
            )
        except ConfigError as error:
            problems.setdefault(str(error), []).append(a.learner)
        else:
            jobs.append(MatrixJob(job=job, evaluation=a.evaluation))
    if problems:
        told = [f"{', '.join(dict.fromkeys(of))}: {error}" for error, of in problems.items()]
        raise ConfigError("\n  ".join(told))
    return tuple(jobs)
