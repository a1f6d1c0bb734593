"""The base-to-new benchmark of learners: which jobs it is made of; no torch."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.jobs import NO_GENERATOR
from diffuprompt.matrix import MatrixJob
from diffuprompt.studies.shared import Asked, Shared, evaluation_of, find_methods, make_jobs


def base_to_new_jobs(
    shared: Shared,
    learners: Sequence[str],
    seeds: Sequence[int],
    *,
    generators: Sequence[str] = (NO_GENERATOR,),
    open_world: bool = False,
) -> tuple[MatrixJob, ...]:
    """Return every method of `find_methods` with every seed, seed by seed.

    With ``open_world`` each is also scored among the names of base and new classes together.
    Raises `ConfigError` naming every job that cannot be.
    """
    asked = [
        Asked(learner, seed, generator, evaluation_of(generator, open_world=open_world))
        for seed in seeds
        for learner, generator in find_methods(learners, generators)
    ]
    return make_jobs(shared, asked)
