"""Rows whose mask generators should be one and are not: their differences mean less.

Stages are shared by the jobs of one runs folder. Where rows of a seed were made in several folders,
the generator was trained in each, and on an accelerator two trainings of one seed differ.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from diffuprompt.record_grounding import GroundingRecord
from diffuprompt.studies.grounding.findings import WorldFindings, title_of

LOSS = "mask_generator_loss"


def trained_apart(found: WorldFindings) -> tuple[str, ...]:
    """Return a sentence for each seed whose rows read several trainings of one generator."""
    trainings: dict[str, dict[float, list[str]]] = defaultdict(lambda: defaultdict(list))
    seeds: dict[str, int] = {}
    for title, record in _records(found):
        key = _generator(record)
        if key is None:
            continue
        seeds[key] = record.job.seed
        titles = trainings[key][record.statistics[LOSS]]
        if title not in titles:
            titles.append(title)
    return tuple(
        f"Seed {seeds[key]}: one training for "
        + "; another for ".join(
            f"{', '.join(titles)} (loss {loss:.3f})" for loss, titles in apart.items()
        )
        for key, apart in trainings.items()
        if len(apart) > 1
    )


def seeds_apart(found: WorldFindings, a: str, b: str) -> tuple[int, ...]:
    """Return the seeds of which two main rows read different trainings of one generator."""
    losses: dict[str, set[float]] = defaultdict(set)
    seeds: dict[str, int] = {}
    for row in (found.rows.get(a), found.rows.get(b)):
        for record in row.records if row is not None else ():
            if (key := _generator(record)) is not None:
                losses[key].add(record.statistics[LOSS])
                seeds[key] = record.job.seed
    return tuple(seeds[key] for key, different in losses.items() if len(different) > 1)


def _records(found: WorldFindings) -> Iterator[tuple[str, GroundingRecord]]:
    for key, row in found.rows.items():
        yield from ((title_of(key), record) for record in row.records)
    for setting, row in found.varied.items():
        if row.setting:
            yield from ((setting, record) for record in row.records)


def _generator(record: GroundingRecord) -> str | None:
    """Return what the training of a record's generator depends on, as one string."""
    config, generator = record.config, record.config.get("generator", {})
    if LOSS not in record.statistics or "condition" not in generator:  # an encoder alone is none
        return None
    parts = [config[name] for name in ("preset", "masks_from", "expressions", "generator_fit")]
    parts += [generator.get(name) for name in ("condition", "prediction", "schedule")]
    return json.dumps([record.job.seed, *parts], sort_keys=True)
