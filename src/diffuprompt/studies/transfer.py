"""The benchmarks beside base-to-new: cross-dataset, domain and few-shot; no torch.

Each is a list of jobs of one protocol, seed by seed, so that early results cover all learners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from diffuprompt.data import domain_folder, domain_names
from diffuprompt.errors import ConfigError
from diffuprompt.jobs import NO_GENERATOR
from diffuprompt.learners import find_method
from diffuprompt.matrix import MatrixJob
from diffuprompt.protocols import find_protocol
from diffuprompt.studies.shared import Asked, Shared, evaluation_of, find_methods, make_jobs

CROSS_DATASET, DOMAIN, FEW_SHOT = "cross-dataset", "domain", "few-shot"
SHOTS = find_protocol(FEW_SHOT).layout.shots


def cross_dataset_jobs(
    shared: Shared,
    learners: Sequence[str],
    seeds: Sequence[int],
    *,
    generators: Sequence[str] = (NO_GENERATOR,),
) -> tuple[MatrixJob, ...]:
    """Return every method of `find_methods` with every seed, scored on its source and on targets.

    Raises `ConfigError` naming every job that cannot be.
    """
    asked = [
        Asked(learner, seed, generator, evaluation_of(generator))
        for seed in seeds
        for learner, generator in find_methods(learners, generators)
    ]
    return make_jobs(replace(shared, protocol=CROSS_DATASET), asked)


def domain_jobs(
    shared: Shared,
    learners: Sequence[str],
    seeds: Sequence[int],
    train_domains: Sequence[str] = (),
    *,
    generators: Sequence[str] = (NO_GENERATOR,),
) -> tuple[MatrixJob, ...]:
    """Return every method of `find_methods` with every seed, scored on its and on other domains.

    In the layout "domains", without ``train_domains``, each domain is left out once: all others
    train, and every picture of it is a test picture.

    Raises `ConfigError` naming every job that cannot be, `DataError` for a folder without domains.
    """
    sources = [tuple(train_domains)]
    if shared.layout == "domains" and not train_domains:
        names = domain_names(domain_folder(shared.data, shared.data_root))
        sources = [tuple(name for name in names if name != left_out) for left_out in names]
    asked = [
        Asked(learner, seed, generator, evaluation_of(generator), train_domains=source)
        for seed in seeds
        for source in sources
        for learner, generator in find_methods(learners, generators)
    ]
    return make_jobs(replace(shared, protocol=DOMAIN), asked)


def few_shot_jobs(
    shared: Shared,
    learners: Sequence[str],
    seeds: Sequence[int],
    shots: Sequence[int] = SHOTS,
    *,
    generators: Sequence[str] = (NO_GENERATOR,),
) -> tuple[MatrixJob, ...]:
    """Return every method of `find_methods` with every number of shots and every seed.

    What needs no training images is the same for all of these, and is one job a seed.
    Raises `ConfigError` naming every job that cannot be.
    """
    if not shots:
        raise ConfigError("--shots: expected at least one")
    asked = [
        Asked(learner, seed, generator, evaluation_of(generator), shots=k)
        for seed in seeds
        for k in shots
        for learner, generator in find_methods(learners, generators)
        if k == shots[0] or find_method(learner).needs_images
    ]
    return make_jobs(replace(shared, protocol=FEW_SHOT), asked)
