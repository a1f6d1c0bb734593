"""The base-to-new benchmark of learners: which jobs it is made of; no torch."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.jobs import Evaluation
from diffuprompt.matrix import MatrixJob
from diffuprompt.studies.shared import Asked, Shared, make_jobs


def base_to_new_jobs(
    shared: Shared, learners: Sequence[str], seeds: Sequence[int], *, open_world: bool = False
) -> tuple[MatrixJob, ...]:
    """Return every learner with every seed, seed by seed, so that early results cover all.

    With ``open_world`` each is also scored among the names of base and new classes together.
    Raises `ConfigError` naming every job that cannot be.
    """
    scored = Evaluation(open_world=open_world)
    asked = [Asked(learner, seed, evaluation=scored) for seed in seeds for learner in learners]
    return make_jobs(shared, asked)
