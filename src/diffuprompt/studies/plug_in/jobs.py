"""Which jobs the plug-in study is made of, and what of each run is scored; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from diffuprompt.errors import ConfigError
from diffuprompt.jobs import Evaluation
from diffuprompt.matrix import MatrixJob
from diffuprompt.studies.plug_in.design import DIFFUSION, FOCUS, NFE, STEPS
from diffuprompt.studies.shared import Asked, Shared, make_jobs


def plug_in_jobs(
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
    open_world: bool = False,
) -> tuple[MatrixJob, ...]:
    """Return the jobs of the plug-in study, the most wanted first.

    Every learner without and with diffusion and its ``controls``; for ``rivals_for`` the other
    generators; for ``sweep_for`` further numbers of evaluations, scored of the same run, and runs
    with ``steps`` overfitting iterations. All but these runs are, with ``open_world``, scored
    among the names of base and new classes together, too.

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
    asked: list[Asked] = []
    for seed in seeds:
        asked += [
            Asked(learner, seed, evaluation=Evaluation(open_world=open_world))
            for learner in learners
        ]
        if DIFFUSION in generators:
            for learner in learners:
                nfe = NFE if learner in sweep_for else ()
                scored = Evaluation(
                    controls=controls, oracle=oracle, nfe=nfe, open_world=open_world
                )
                asked.append(Asked(learner, seed, DIFFUSION, scored))
    plain = Evaluation(controls="none")
    both = Evaluation(controls="none", open_world=open_world)
    rivals = [generator for generator in generators if generator != DIFFUSION]
    for seed in seeds:
        asked += [Asked(learner, seed, rival, both) for learner in rivals_for for rival in rivals]
    if DIFFUSION in generators:
        settings = [f"overfit.steps={k}" for k in steps]
        for seed in seeds:
            for learner in sweep_for:
                asked += [Asked(learner, seed, DIFFUSION, plain, s) for s in settings]
    return make_jobs(shared, asked)
