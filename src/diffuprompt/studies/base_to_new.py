"""The base-to-new benchmark of learners: which jobs it is made of; no torch."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.matrix import MatrixJob
from diffuprompt.studies.shared import Asked, Shared, make_jobs


def base_to_new_jobs(
    shared: Shared, learners: Sequence[str], seeds: Sequence[int]
) -> tuple[MatrixJob, ...]:
    """Return every learner with every seed, seed by seed, so that early results cover all.

    Raises `ConfigError` naming every job that cannot be.
    """
    return make_jobs(shared, [Asked(learner, seed) for seed in seeds for learner in learners])
