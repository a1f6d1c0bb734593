"""Means and paired differences of grounding rows on one test set, with intervals over pictures.

All numbers of a test set come from one resampling: the same pictures are drawn for every row, seed
and measure, so differences are paired and no interval depends on which other rows there are.

Legend: S seed, N expression, R resample, K column.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffuprompt.record_expressions import ExpressionScores
from diffuprompt.report.compare import RESAMPLES
from diffuprompt.report.grounding_rows import MethodRow
from diffuprompt.report.stats import Floats, Interval, cluster_bootstrap

MEASURES = ("r1", "r5", "r10", "ub", "giou_r1", "mask_iou")
BY_KIND = ("r1", "r5")
TAILS = (0.025, 0.975)

_Column = tuple[tuple[str, str, str], str, str]  # row, measure, kind ("" for all)


class ExpressionIntervals:
    """What some rows reach on one test set, by the seeds that scored it; others have no numbers.

    Seeds are averaged, not resampled: the interval is about other pictures, and the variation
    between trainings stands beside it in the single seeds.

    Attributes:
        test: name of the test set.
        resamples: of the bootstrap.
        total: expressions of it; 0 where no row scored it.
        num_pictures: of them.
        kinds: of its expressions, in order of their names; () where it has none.
    """

    def __init__(
        self, rows: Sequence[MethodRow], test: str, *, resamples: int = RESAMPLES, seed: int = 0
    ) -> None:
        scored = [found for row in rows if (found := row.on(test)) is not None]
        self.test, self.resamples = test, resamples
        self._values: dict[_Column, Floats] = {}  # (S,)
        self._resampled: dict[_Column, NDArray[np.float32]] = {}  # (S, R)
        first = scored[0].records[0].scores(test) if scored else None
        self.total = first.total if first else 0
        pictures = np.array(first.pictures() if first else [], dtype=np.int64)
        self.num_pictures = len(np.unique(pictures))
        self.kinds = tuple(kind for kind in (first.kinds if first else ()) if kind)
        if first is not None:
            self._resample(scored, first, pictures, resamples, seed)

    def _resample(
        self,
        rows: Sequence[MethodRow],
        first: ExpressionScores,
        pictures: NDArray[np.int64],
        resamples: int,
        seed: int,
    ) -> None:
        kinds = np.array(first.kind_names())
        columns: dict[_Column, Floats] = {}
        for row in rows:
            for measure, values_SN in row.values(self.test, MEASURES).items():
                columns[row.key, measure, ""] = values_SN
                for kind in self.kinds if measure in BY_KIND else ():
                    columns[row.key, measure, kind] = np.where(kinds == kind, values_SN, np.nan)
        stacked = np.concatenate(list(columns.values()))
        drawn_RK = cluster_bootstrap(stacked, pictures, resamples=resamples, seed=seed)
        drawn_KR = np.ascontiguousarray(drawn_RK.T)
        start = 0
        for column, values_SN in columns.items():
            stop = start + len(values_SN)
            self._values[column] = np.nanmean(values_SN, axis=1)
            self._resampled[column] = drawn_KR[start:stop]
            start = stop

    def seeds(self, row: MethodRow, measure: str, kind: str = "") -> tuple[float, ...]:
        """Return the value of each seed in per cent; () where it was not measured."""
        return tuple(self._values.get((row.key, measure, kind), np.zeros(0)).tolist())

    def mean(self, row: MethodRow, measure: str, kind: str = "") -> Interval | None:
        """Return the mean over seeds in per cent with its 95 % interval; None if not measured."""
        column = (row.key, measure, kind)
        if column not in self._values:
            return None
        return _interval(float(self._values[column].mean()), self._resampled[column])

    def difference(
        self, a: MethodRow, b: MethodRow, measure: str, kind: str = ""
    ) -> Interval | None:
        """Return the mean of ``a - b`` over the seeds of both in points, with its 95 % interval.

        None where one was not measured or they share no seed; see `MethodRow.pairs`.
        """
        left, right = (a.key, measure, kind), (b.key, measure, kind)
        scored_a, scored_b = a.on(self.test), b.on(self.test)
        if scored_a is None or scored_b is None:
            return None
        pairs = scored_a.pairs(scored_b)
        if left not in self._values or right not in self._values or not pairs:
            return None
        of_a, of_b = [i for i, _ in pairs], [j for _, j in pairs]
        gain = self._values[left][of_a] - self._values[right][of_b]
        drawn_SR = self._resampled[left][of_a] - self._resampled[right][of_b]
        return _interval(float(gain.mean()), drawn_SR)


def _interval(estimate: float, drawn_SR: NDArray[np.float32]) -> Interval:
    drawn = drawn_SR.mean(axis=0, dtype=np.float64)
    low, high = (np.nanquantile if np.isnan(drawn).any() else np.quantile)(drawn, TAILS)
    return Interval(estimate=estimate, low=float(low), high=float(high))
