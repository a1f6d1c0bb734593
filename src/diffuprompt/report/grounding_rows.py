"""Rows of grounding tables: a method on a data set with all its seeds, expression by expression.

Legend: S seed, N expression of a test set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from diffuprompt.record_expressions import DEPTHS, ExpressionScores
from diffuprompt.record_grounding import GroundingRecord
from diffuprompt.report.consistency import Seen, fields_of, refuse_disagreements
from diffuprompt.report.load import GroundingSource
from diffuprompt.report.stats import Floats

DEPTH_OF = {**{f"r{k}": float(k) for k in DEPTHS}, "ub": np.inf}


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """One method trained on one data set, with a record of each seed in their order."""

    dataset: str
    method: str
    setting: str
    records: tuple[GroundingRecord, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its records."""
        return tuple(record.job.seed for record in self.records)

    @property
    def key(self) -> tuple[str, str, str]:
        """What no other row has."""
        return (self.dataset, self.method, self.setting)

    @property
    def is_untrained(self) -> bool:
        """Whether nothing was trained, so that a seed changes nothing."""
        return all(record.job.expressions == 0 for record in self.records)

    @property
    def devices(self) -> tuple[str, ...]:
        """Where each record's seconds were measured; "" where it does not say so."""
        return tuple(record.environment.get("device", "") for record in self.records)

    @property
    def tests(self) -> tuple[str, ...]:
        """The test sets that every seed scored."""
        first, *others = self.records
        names = [scores.test for scores in first.tests]
        return tuple(n for n in names if all(r.scores(n) is not None for r in others))

    def on(self, test: str) -> MethodRow | None:
        """Return the row of the seeds that scored a test set; None where none did."""
        scored = tuple(r for r in self.records if r.scores(test) is not None)
        return replace(self, records=scored) if scored else None

    def values(self, test: str, measures: Sequence[str]) -> dict[str, Floats]:
        """Return measures of each seed and expression ``(S, N)`` in per cent.

        Of ``measures`` ("r1", "r5", "r10", "ub", the same led by "giou_", "mask_iou") those that
        every seed has are there.
        """
        found = [record.scores(test) for record in self.records]
        each = [_measured(scores, measures) for scores in found if scores is not None]
        if len(each) < len(found):
            return {}
        return {
            measure: 100 * np.array([values[measure] for values in each])
            for measure in measures
            if all(measure in values for values in each)
        }

    def pairs(self, other: MethodRow) -> list[tuple[int, int]]:
        """Return positions of the records to compare: of one seed and on one detector.

        A method that trained nothing is its own repetition with any seed.
        """
        any_seed = self.is_untrained or other.is_untrained
        pairs = [
            (i, j)
            for i, a in enumerate(self.records)
            for j, b in enumerate(other.records)
            if a.job.detector_hash == b.job.detector_hash and (any_seed or a.job.seed == b.job.seed)
        ]
        if other.is_untrained:  # its repetitions on one detector are the same numbers
            return list({i: (i, j) for i, j in reversed(pairs)}.values())[::-1]
        return list({j: (i, j) for i, j in reversed(pairs)}.values())[::-1]

    def mean(self, read: Callable[[GroundingRecord], float | None]) -> float | None:
        """Return the mean over seeds of what each record says; None where one does not."""
        each = [read(record) for record in self.records]
        known = [value for value in each if value is not None]
        return fmean(known) if len(known) == len(each) else None

    def milliseconds(self, test: str) -> float | None:
        """Return the mean wall milliseconds per picture: making prompts, and detecting."""

        def total(record: GroundingRecord) -> float | None:
            scores = record.scores(test)
            return sum(scores.timings.values()) if scores and scores.timings else None

        return self.mean(total)


def _measured(scores: ExpressionScores, measures: Sequence[str]) -> dict[str, Floats]:
    ranks = {"": np.array(scores.ranks()), "giou_": np.array(scores.giou_ranks())}
    out = {}
    for measure in measures:
        prefix = "giou_" if measure.startswith("giou_") else ""
        name = measure.removeprefix(prefix)
        if name in DEPTH_OF:
            hits = (ranks[prefix] >= 0) & (ranks[prefix] < DEPTH_OF[name])
            out[measure] = hits.astype(np.float64)
    ious = scores.mask_ious()
    return out if ious is None else {**out, "mask_iou": np.array(ious)}


def method_rows(sources: Sequence[GroundingSource]) -> tuple[MethodRow, ...]:
    """Group records by data set, method and setting, in the order of the sources.

    Raises:
        DataError: records do not fit together: test sets of one name have different contents, a
            seed of a data set has several detectors, or the seeds of a row have different
            configurations; every field is named with its values and files.
    """
    _check(sources)
    grouped: dict[tuple[str, str, str], list[GroundingRecord]] = defaultdict(list)
    for source in sources:
        job = source.record.job
        grouped[job.dataset, job.method, job.setting].append(source.record)
    return tuple(
        MethodRow(
            dataset=dataset,
            method=method,
            setting=setting,
            records=tuple(sorted(records, key=lambda record: record.job.seed)),
        )
        for (dataset, method, setting), records in grouped.items()
    )


def _check(sources: Sequence[GroundingSource]) -> None:
    table: Seen = defaultdict(lambda: defaultdict(list))
    rows: dict[tuple[str, str, str], list[GroundingSource]] = defaultdict(list)
    for source in sources:
        job = source.record.job
        rows[job.dataset, job.method, job.setting].append(source)
        for what, value in _shared(source.record):
            table[what][value].append(str(source.path))
    refuse_disagreements(table, {key: fields_of(found) for key, found in rows.items()})


def _shared(record: GroundingRecord) -> Iterator[tuple[str, str]]:
    job = record.job
    for scores in record.tests:
        yield f"content of the {scores.test} test expressions", scores.content
    yield f"detector of {job.dataset}, seed {job.seed}", job.detector_hash
