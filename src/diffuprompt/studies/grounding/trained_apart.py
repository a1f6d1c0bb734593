"""Rows whose mask generators should be one and are not: their differences mean less.

Stages are shared by the jobs of one runs folder. Where rows of a seed were made in several folders,
the generator was trained in each, and on an accelerator two trainings of one seed differ.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

from diffuprompt.record_grounding import GroundingRecord
from diffuprompt.report import MethodRow
from diffuprompt.studies.grounding.findings import WorldFindings, title_of

LOSS = "mask_generator_loss"


def trained_apart(found: WorldFindings) -> tuple[str, ...]:
    """Return a sentence for each seed whose rows read several trainings of one generator."""
    rows = (*found.rows.values(), *(row for row in found.varied.values() if row.setting))
    return tuple(
        f"Seed {seed}: one training for "
        + "; another for ".join(
            f"{', '.join(titles)} (loss {loss:.3f})" for loss, titles in apart.items()
        )
        for seed, apart in _apart(rows)
    )


def seeds_apart(found: WorldFindings, a: str, b: str) -> tuple[int, ...]:
    """Return the seeds of which two main rows read different trainings of one generator."""
    rows = [row for key in (a, b) if (row := found.rows.get(key)) is not None]
    return tuple(seed for seed, _ in _apart(rows))


def _apart(rows: Iterable[MethodRow]) -> list[tuple[int, Mapping[float, list[str]]]]:
    """Return a seed and its trainings, by their losses, for each generator with several."""
    trainings: dict[tuple[int, str], dict[float, list[str]]] = {}
    for row in rows:
        title = row.setting or title_of(row.method)
        for record in row.records:
            if (generator := _generator(record)) is not None:
                losses = trainings.setdefault((record.job.seed, generator), defaultdict(list))
                losses[record.statistics[LOSS]].append(title)
    return [(seed, losses) for (seed, _), losses in trainings.items() if len(losses) > 1]


def _generator(record: GroundingRecord) -> str | None:
    """Return what the training of a record's generator depends on beside the seed."""
    config, generator = record.config, record.config.get("generator", {})
    if LOSS not in record.statistics or "condition" not in generator:  # an encoder alone is none
        return None
    parts = [config[name] for name in ("preset", "masks_from", "expressions", "generator_fit")]
    parts += [generator.get(name) for name in ("condition", "prediction", "schedule")]
    return json.dumps(parts, sort_keys=True)
