"""Which jobs a study is made of, and what of each run is scored; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from diffuprompt.errors import ConfigError
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.matrix.entry import MatrixJob

PLUG_IN = ("coop", "cocoop", "vpt", "maple", "promptsrc", "coprompt")
FOCUS = ("cocoop",)  # whose rivals and sweeps the paper shows (Table 4, figure 5)
NFE = (1, 2, 3, 5, 10, 25, 100)
STEPS = tuple(range(1, 11))  # overfitting iterations, at one rate; 0 is the learner's own prompts
DIFFUSION = "diffusion"


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

    def job(
        self, learner: str, seed: int, *, generator: str = "none", setting: str = ""
    ) -> JobConfig:
        """Return one base-to-new job of the study; ``setting`` is also an override."""
        return JobConfig(
            data=self.data,
            data_root=self.data_root,
            backbone=self.backbone,
            learner=learner,
            generator=generator,
            shots=self.shots,
            seed=seed,
            protocol="base-to-new",
            overrides=(*self.overrides, setting) if setting else self.overrides,
            setting=setting,
            runs_dir=self.runs_dir,
            precision=self.precision,
            device=self.device,
        )


def base_to_new(
    shared: Shared, learners: Sequence[str], seeds: Sequence[int]
) -> tuple[MatrixJob, ...]:
    """Return every learner with every seed, seed by seed, so that early results cover all.

    Raises `ConfigError` naming every job that cannot be.
    """
    asked = [_Asked(learner, seed) for seed in seeds for learner in learners]
    return _jobs(shared, asked)


def plug_in(
    shared: Shared,
    *,
    learners: Sequence[str],
    seeds: Sequence[int],
    generators: Sequence[str],
    rivals_for: Sequence[str] = FOCUS,
    sweep_for: Sequence[str] = FOCUS,
    steps: Sequence[int] = STEPS,
    controls: Literal["all", "basic"] = "all",
    oracle: bool = True,
) -> tuple[MatrixJob, ...]:
    """Return the jobs of the plug-in study, the most wanted first.

    Every learner without and with diffusion and its ``controls``; for ``rivals_for`` the other
    generators; for ``sweep_for`` further numbers of evaluations, scored of the same run, and runs
    with ``steps`` overfitting iterations.

    Raises `ConfigError` naming every job that cannot be, focus that is no learner of the study, or
    steps below 1.
    """
    if any(k < 1 for k in steps):
        raise ConfigError(
            f"--steps: expected at least 1, got {list(steps)}; 0 iterations are the learner's own "
            "prompts, which the sweep shows anyway"
        )
    for name, focus in (("rivals-for", rivals_for), ("sweep-for", sweep_for)):
        unknown = [learner for learner in focus if learner not in learners]
        if unknown:
            raise ConfigError(f"--{name}: expected some of {list(learners)}, got {unknown}")
    asked: list[_Asked] = []
    for seed in seeds:
        asked += [_Asked(learner, seed) for learner in learners]
        if DIFFUSION in generators:
            for learner in learners:
                nfe = NFE if learner in sweep_for else ()
                scored = Evaluation(controls=controls, oracle=oracle, nfe=nfe)
                asked.append(_Asked(learner, seed, DIFFUSION, scored))
    plain = Evaluation(controls="none")
    rivals = [generator for generator in generators if generator != DIFFUSION]
    for seed in seeds:
        asked += [_Asked(learner, seed, rival, plain) for learner in rivals_for for rival in rivals]
    if DIFFUSION in generators:
        settings = [f"overfit.steps={k}" for k in steps]
        for seed in seeds:
            for learner in sweep_for:
                asked += [_Asked(learner, seed, DIFFUSION, plain, s) for s in settings]
    return _jobs(shared, asked)


@dataclass(frozen=True)
class _Asked:
    learner: str
    seed: int
    generator: str = "none"
    evaluation: Evaluation = field(default_factory=Evaluation)
    setting: str = ""


def _jobs(shared: Shared, asked: Sequence[_Asked]) -> tuple[MatrixJob, ...]:
    jobs: list[MatrixJob] = []
    problems: list[str] = []
    for a in asked:
        try:
            job = shared.job(a.learner, a.seed, generator=a.generator, setting=a.setting)
        except ConfigError as error:
            problems.append(f"{a.learner}: {error}")
        else:
            jobs.append(MatrixJob(job=job, evaluation=a.evaluation))
    if problems:
        raise ConfigError("\n  ".join(dict.fromkeys(problems)))
    return tuple(jobs)
