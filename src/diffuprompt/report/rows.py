"""Rows of the tables: one way of making prompts, with all its seeds.

Legend: S seed, N test image.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diffuprompt.record import Record, Score, Variant
from diffuprompt.report.costs import Costs, mean_costs, mean_known
from diffuprompt.report.names import main_variant, row_name
from diffuprompt.report.stats import Bools, Floats, add_harmonic, harmonic_mean

logger = logging.getLogger(__name__)

TestSet = tuple[str, str]  # name of another data set than the job's own, and its part


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of making prompts with all its seeds.

    Attributes:
        hits: part of the test set -> ``(S, N)``, where the records keep them.
        values: measure -> ``(S,)`` of what has no hits, see `report.names`.
        elsewhere: other test sets -> seed -> accuracy in per cent.
        setting: names an ablation.
        is_joint: training the generator moved the learner too, so that the job's own prompts are
            no plain ones.
        draw_spread: how far the generator's draws for one image lie apart, as a share of how far
            V* is from V0; None without a generator.
        config: of the jobs; the same for all seeds, the seed itself aside.
    """

    learner: str
    generator: str
    variant: Variant
    name: str
    seeds: tuple[int, ...]
    hits: Mapping[str, Bools]
    values: Mapping[str, Floats] = field(default_factory=dict)
    elsewhere: Mapping[TestSet, Mapping[int, float]] = field(default_factory=dict)
    setting: str = ""
    precision: str = "fp32"
    is_joint: bool = False
    draw_spread: float | None = None
    costs: Costs = field(default_factory=Costs)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_method(self) -> bool:
        """Whether it is what the job is about: no control, and own prompts only when trained."""
        return self.variant == main_variant(self.generator)

    @property
    def per_seed(self) -> dict[str, Floats]:
        """Measure -> ``(S,)``; ``h`` is the harmonic mean of the same seed's base and new."""
        counted = {part: 100 * hits.mean(axis=1) for part, hits in self.hits.items()}
        return add_harmonic({**counted, **self.values})

    def mean(self, measure: str) -> float | None:
        """Return the mean over seeds; H is the harmonic mean of mean base and mean new."""
        values = self.per_seed
        if measure not in values:
            return None
        if measure == "h":
            return float(harmonic_mean(values["base"].mean(), values["new"].mean()))
        return float(values[measure].mean())

    def std(self, measure: str) -> float | None:
        """Return the population standard deviation (ddof 0) over seeds; None for fewer than two."""
        values = self.per_seed
        if measure not in values or len(self.seeds) < 2:
            return None
        return float(values[measure].std())

    def only(self, seeds: Sequence[int]) -> Row:
        """Return the same row with some of its seeds; costs stay the means over all."""
        index = [self.seeds.index(seed) for seed in seeds]
        return replace(
            self,
            seeds=tuple(seeds),
            hits=self.select(seeds, list(self.hits)),
            values={measure: values[index] for measure, values in self.values.items()},
        )

    def select(self, seeds: Sequence[int], parts: Sequence[str]) -> dict[str, Bools]:
        """Return the hits of some seeds, in that order, on some parts."""
        index = [self.seeds.index(seed) for seed in seeds]
        return {part: self.hits[part][index] for part in parts}


def make_row(
    learner: str, generator: str, variant: Variant, setting: str, records: Sequence[Record]
) -> Row:
    """Return the row of some jobs of one kind, which differ in the seed alone."""
    ordered = sorted(records, key=lambda record: record.job.seed)
    name = row_name(learner, generator, variant)
    hits: dict[str, Bools] = {}
    values: dict[str, Floats] = {}
    for part, scores in _by_part(ordered, variant).items():
        if len(scores) < len(ordered):
            logger.warning("%s: %s is not measured for every seed, left out", name, part)
        elif all(score.hits is not None for score in scores):
            hits[part] = np.array([score.hit_list() for score in scores], dtype=np.bool_)
        else:
            values[part] = np.array([score.accuracy for score in scores])
    config = ordered[0].config  # the same in all, but for the seed
    return Row(
        learner=learner,
        generator=generator,
        variant=variant,
        name=f"{name} · {setting}" if setting else name,
        seeds=tuple(record.job.seed for record in ordered),
        hits=hits,
        values=values,
        elsewhere=_elsewhere(ordered, variant),
        setting=setting,
        precision=precision_of(ordered[0]),
        is_joint=is_joint(ordered[0]),
        draw_spread=mean_known(record.statistics.get("generated_spread") for record in ordered),
        costs=mean_costs(ordered, variant),
        config=config,
    )


def precision_of(record: Record) -> str:
    """Return the precision of a job; records leave the default out."""
    precision: str = record.config.get("precision", "fp32")
    return precision


def is_joint(record: Record) -> bool:
    """Whether training the generator moved the learner too."""
    return bool(record.config.get("fit", {}).get("mode") == "joint")


def _by_part(records: Sequence[Record], variant: Variant) -> dict[str, list[Score]]:
    """Return the scores on the jobs' own test set by its part, one per record that has it."""
    out: dict[str, list[Score]] = {}
    for record in records:
        for score in record.scores:
            if (score.variant, score.dataset) == (variant, record.job.dataset):
                out.setdefault(score.subset, []).append(score)
    return out


def _elsewhere(records: Sequence[Record], variant: Variant) -> dict[TestSet, dict[int, float]]:
    out: dict[TestSet, dict[int, float]] = {}
    for record in records:
        for score in record.scores:
            is_other = score.variant == variant and score.dataset != record.job.dataset
            if is_other and "accuracy" in score.metrics:
                seeds = out.setdefault((score.dataset, score.subset), {})
                seeds[record.job.seed] = score.accuracy
    return out
