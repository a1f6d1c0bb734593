"""Paired differences between rows: the same seeds and the same images, one method minus another."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffuprompt.errors import DataError
from diffuprompt.report.aggregate import Section
from diffuprompt.report.names import METRICS, OWN, is_control, is_oracle
from diffuprompt.report.rows import Row
from diffuprompt.report.stats import Floats, Interval, paired_bootstrap, paired_differences
from diffuprompt.report.tables import Cell, Number

logger = logging.getLogger(__name__)

RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Signs:
    """Exact counts of wins, ties and losses of the first method."""

    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Row ``a`` minus row ``b`` over the seeds that both have."""

    a: Row
    b: Row
    seeds: tuple[int, ...]
    per_seed: Mapping[str, Floats]  # measure -> (S,) differences in points
    intervals: Mapping[str, Interval]  # measure -> mean difference with its 95 % interval
    seed_signs: Mapping[str, Signs]  # measure -> seeds won, tied, lost
    image_signs: Mapping[str, Signs]  # subset -> (image, seed) pairs that only a, both/none, only b

    @property
    def against(self) -> str:
        """Name of the other row, without the dash that marks controls in tables."""
        return "own prompts" if self.b.variant == OWN else self.b.name.lstrip("— ")


def compare(a: Row, b: Row, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison | None:
    """Compare two rows item by item over their common seeds and subsets; None when they share none.

    Rows of a task without hits share none.

    Raises `DataError` when the two scored different numbers of images.
    """
    seeds = tuple(sorted(set(a.seeds) & set(b.seeds)))
    subsets = [m for m in METRICS if m in a.hits and m in b.hits]
    if not a.hits and not b.hits:
        return None
    if not seeds or not subsets:
        logger.warning("%s and %s share no seed or subset: not compared", a.name, b.name)
        return None
    for subset in subsets:
        sizes = a.hits[subset].shape[1], b.hits[subset].shape[1]
        if sizes[0] != sizes[1]:
            raise DataError(f"{a.name} and {b.name} scored {sizes} {subset} images: not the same")
    left, right = a.select(seeds, subsets), b.select(seeds, subsets)
    per_seed = paired_differences(left, right)
    image_signs = {}
    for subset in subsets:
        wins = int(np.sum(left[subset] & ~right[subset]))
        losses = int(np.sum(right[subset] & ~left[subset]))
        ties = left[subset].size - wins - losses
        image_signs[subset] = Signs(wins=wins, ties=ties, losses=losses)
    return Comparison(
        a=a,
        b=b,
        seeds=seeds,
        per_seed=per_seed,
        intervals=paired_bootstrap(left, right, resamples=resamples, seed=seed),
        seed_signs={metric: _signs(values) for metric, values in per_seed.items()},
        image_signs=image_signs,
    )


def _signs(values: Floats) -> Signs:
    wins, losses = int(np.sum(values > 0)), int(np.sum(values < 0))
    return Signs(wins=wins, ties=len(values) - wins - losses, losses=losses)


def difference(interval: Interval | None) -> Cell:
    """Return a table's cell of a mean difference; None where it was not measured."""
    if interval is None:
        return None
    ends = (interval.low, interval.high)
    return Number(value=interval.estimate, interval=ends, signed=True)


def default_comparisons(section: Section) -> tuple[Comparison, ...]:
    """Compare every generated row with the learner's own prompts and with each control.

    Every method, own prompts too, is compared with the trivial control of the open world where it
    was scored. The oracle is left out: it reads the label, so it is an upper bound and no rival.
    """
    out: list[Comparison] = []
    for row in section.rows:
        if is_control(row.variant):
            continue
        for other in rivals(row, section.rows):
            result = compare(row, other)
            if result is not None:
                out.append(result)
    return tuple(out)


def rivals(row: Row, rows: Sequence[Row]) -> list[Row]:
    """Own prompts, then the controls; never those at another precision or of another ablation.

    Own prompts are those of the same job where they differ from the plain job's. After joint
    training, which moves the learner, they are the plain job's wherever there is one. Own prompts
    themselves have one rival: the trivial control of the same learner, where both were scored.
    """
    kind = (row.learner, row.precision, row.setting)
    same = [r for r in rows if (r.learner, r.precision, r.setting) == kind]
    controls = [r for r in same if is_control(r.variant)]
    if row.variant == OWN:
        trivial = [r for r in controls if not r.variant.generator]
        return [r for r in trivial if not row.hits.keys().isdisjoint(r.hits)][:1]
    own = [r for r in same if r.variant == OWN]
    own.sort(key=lambda r: r.generator != row.generator)
    if row.is_joint:
        own.sort(key=lambda r: (r.is_joint, r.generator != "none"))
    made = [r for r in controls if r.generator == row.generator and r.variant.generator]
    return own[:1] + [r for r in made if not is_oracle(r.variant)]
