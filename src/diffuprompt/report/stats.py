"""The few statistics that the tables need; plain numpy, every one tested against brute force.

Legend: S seed, N test image or expression, R resample, P distinct outcome pattern, K row, C cluster
(picture of expressions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffuprompt.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

AVERAGE = "average"  # over the subsets of a bootstrap
Z95 = 1.959963984540054  # the standard normal's 97.5 % point


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with the two ends of its interval, in the estimate's unit."""

    estimate: float
    low: float
    high: float


def harmonic_mean(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return ``2ab / (a + b)`` elementwise for ``a, b >= 0``; 0 where both are 0."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    total = x + y
    return np.where(total > 0, 2 * x * y / np.where(total > 0, total, 1.0), 0.0)


def wilson(correct: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion, in per cent (Wilson 1927).

    Raises `DataError` unless ``0 <= correct <= total`` and ``total > 0``.
    """
    if not 0 <= correct <= total or total == 0:
        raise DataError(f"expected 0 <= correct <= total and total > 0, got {correct} of {total}")
    p, zz = correct / total, z * z / total
    centre = (p + zz / 2) / (1 + zz)
    half = z * sqrt(p * (1 - p) / total + zz / (4 * total)) / (1 + zz)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def add_harmonic(accuracy: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the accuracies, with ``"h"`` added where both ``"base"`` and ``"new"`` are there."""
    out = dict(accuracy)
    if "base" in out and "new" in out:
        out["h"] = harmonic_mean(out["base"], out["new"])
    return out


def paired_differences(a: Mapping[str, Bools], b: Mapping[str, Bools]) -> dict[str, Floats]:
    """Return for each subset, and for the per-seed H, the S differences ``a - b`` in points.

    ``a`` and ``b`` map a subset to hits ``(S, N)`` of the same seeds and images, in the same order.
    """
    left = add_harmonic({k: 100 * v.mean(axis=1) for k, v in a.items()})
    right = add_harmonic({k: 100 * v.mean(axis=1) for k, v in b.items()})
    return {k: left[k] - right[k] for k in left}


def paired_error(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Return the standard error of the mean difference of hits on the same N items, as a share.

    With one item it is unknown, and infinite.
    """
    if len(a) < 2:
        return float("inf")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return float(difference.std(ddof=1) / sqrt(len(difference)))


Hits = Mapping[str, Bools]


def paired_bootstrap(
    a: Hits, b: Hits, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return the mean paired difference ``a - b`` in points with a percentile interval.

    ``a`` and ``b`` map a subset to hits ``(S, N)`` of the same seeds and images; subsets may differ
    in N. Otherwise as `joint_bootstrap`.
    """
    return joint_bootstrap([(a, b)], resamples=resamples, seed=seed, level=level)


def joint_bootstrap(
    pairs: Sequence[tuple[Hits, Hits]],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    average: bool = False,
) -> dict[str, Interval]:
    """Return the mean over ``pairs`` of the paired differences ``a - b``, with its interval.

    Two levels are resampled with replacement: seeds, and test images. All seeds of all pairs score
    the same images, so one draw of seeds and one of images serves all of a resample (a crossed
    design; drawing images anew for each seed or pair would make the interval too narrow). The draw
    of seeds is shared by the subsets, the draws of images are not, since base and new images are
    disjoint.

    Images with the same outcomes under all methods and seeds are interchangeable, so instead of N
    images the P distinct patterns are drawn from a multinomial: the same distribution at a cost
    that for one pair hardly depends on N.

    Args:
        pairs: two methods each, subset -> hits ``(S, N)``; all of equal shapes, seeds and images.
        resamples: R.
        seed: of this bootstrap alone; nothing uses a global stream.
        level: mass of the interval.
        average: add, as `AVERAGE`, the mean over all subsets, such as over several test sets.
            Subsets of the same size then share the draws of images, since they may show the same
            pictures in several ways; where they do not, that changes nothing on average.

    Raises:
        DataError: the subsets or shapes differ.
    """
    methods = [
        tuple((part, rows.shape, rows.tobytes()) for part, rows in sorted(hits.items()))
        for pair in pairs
        for hits in pair
    ]
    return dict(_joint_bootstrap(tuple(methods), resamples, seed, level, average))


Packed = tuple[tuple[str, tuple[int, ...], bytes], ...]  # a method's hits, as a key


@lru_cache(maxsize=1024)
def _joint_bootstrap(
    methods: tuple[Packed, ...], resamples: int, seed: int, level: float, average: bool
) -> dict[str, Interval]:
    """As `joint_bootstrap`; kept, since a page and a summary ask for the same differences."""
    unpacked = [
        {part: np.frombuffer(data, dtype=np.bool_).reshape(shape) for part, shape, data in method}
        for method in methods
    ]
    pairs = list(zip(unpacked[::2], unpacked[1::2], strict=True))
    shapes = [{k: v.shape for k, v in hits.items()} for hits in unpacked]
    if any(s != shapes[0] for s in shapes) or len({s[0] for s in shapes[0].values()}) != 1:
        raise DataError(f"paired hits need equal shapes (S, N), got {shapes}")
    rng = np.random.default_rng(seed)
    num_seeds = next(iter(shapes[0].values()))[0]
    drawn_RS = rng.integers(num_seeds, size=(resamples, num_seeds))
    resampled: list[dict[str, Floats]] = [{} for _ in shapes]
    for subsets in _drawn_together(shapes[0], average):
        rows = np.concatenate([hits[subset] for subset in subsets for hits in unpacked])
        accuracy = _resampled_accuracy(rows, resamples, rng)
        for i, (subset, method) in enumerate(product(subsets, resampled)):
            own = accuracy[:, i * num_seeds : (i + 1) * num_seeds]
            method[subset] = np.take_along_axis(own, drawn_RS, axis=1)
    exact = [paired_differences(a, b) for a, b in pairs]
    if average:
        resampled = [_add_average(method) for method in resampled]
        exact = [_add_average({part: values[part] for part in shapes[0]}) for values in exact]
    else:
        resampled = [add_harmonic(method) for method in resampled]
    tails = [(1 - level) / 2, (1 + level) / 2]
    out = {}
    for metric in exact[0]:
        estimate = float(np.mean([values[metric] for values in exact]))
        gains = [
            (a[metric] - b[metric]).mean(axis=1)
            for a, b in zip(resampled[::2], resampled[1::2], strict=True)
        ]
        low, high = np.quantile(np.mean(gains, axis=0), tails)
        out[metric] = Interval(estimate=estimate, low=float(low), high=float(high))
    return out


def _drawn_together(shapes: Mapping[str, tuple[int, ...]], average: bool) -> list[list[str]]:
    """Return the subsets whose images are drawn alike: each alone, or those of one size."""
    if not average:
        return [[subset] for subset in sorted(shapes)]
    groups: dict[int, list[str]] = {}
    for subset in sorted(shapes):
        groups.setdefault(shapes[subset][1], []).append(subset)
    return list(groups.values())


def _add_average(values: Mapping[str, Floats]) -> dict[str, Floats]:
    return {**values, AVERAGE: np.mean(list(values.values()), axis=0)}


def _resampled_accuracy(
    hits_KN: Bools, resamples: int, rng: np.random.Generator, block: int = 1000
) -> Floats:
    """Return accuracies ``(R, K)`` in per cent over images drawn alike for all K rows."""
    patterns, counts = np.unique(hits_KN.astype(np.int64), axis=1, return_counts=True)
    total = int(counts.sum())
    parts = []
    for start in range(0, resamples, block):  # R x P counts at once would not fit in memory
        size = min(block, resamples - start)
        weights = rng.multinomial(total, counts / total, size=size)
        # float64 is exact for counts, and its product is fast where int64's is not
        parts.append(weights.astype(np.float64) @ patterns.T.astype(np.float64))
    return 100 * np.concatenate(parts) / total


def cluster_bootstrap(
    values_KN: Floats, clusters_N: NDArray[np.int64], *, resamples: int = 10_000, seed: int = 0
) -> NDArray[np.float32]:
    """Return means ``(R, K)`` of K rows over resampled clusters of items (Field & Welsh 2007).

    Whole clusters are drawn with replacement, so that items which share one stay together; a mean
    is over the items of the drawn clusters. All rows, and all calls with the same clusters and
    seed, see the same draws, so that differences of rows are paired.

    Args:
        values_KN: NaN where an item is no part of a row, as expressions of another kind.
        clusters_N: number of each item's cluster, from 0.
        resamples: R.
        seed: of this bootstrap alone; nothing uses a global stream.

    Raises:
        DataError: the shapes do not fit.
    """
    if values_KN.ndim != 2 or values_KN.shape[1:] != clusters_N.shape:
        raise DataError(f"expected (K, N) and (N,), got {values_KN.shape} and {clusters_N.shape}")
    num_clusters = int(clusters_N.max()) + 1
    is_part = ~np.isnan(values_KN)
    # rows of the same items have the same counts: few of them are distinct
    rows_of: dict[bytes, list[int]] = {}
    for k, part in enumerate(is_part):
        rows_of.setdefault(part.tobytes(), []).append(k)
    # float32 holds sums of hits exactly and is twice as fast
    sums_CK = _by_cluster(np.where(is_part, values_KN, 0.0), clusters_N, num_clusters)
    firsts = [rows[0] for rows in rows_of.values()]
    counts_CP = _by_cluster(is_part[firsts].astype(np.float64), clusters_N, num_clusters)
    rng = np.random.default_rng(seed)
    out_RK = np.empty((resamples, len(values_KN)), dtype=np.float32)
    for start in range(0, resamples, 1000):  # R x C weights at once would not fit in memory
        size = min(1000, resamples - start)
        drawn = rng.integers(num_clusters, size=(size, num_clusters))
        flat = (drawn + num_clusters * np.arange(size)[:, None]).ravel()
        weights = np.bincount(flat, minlength=size * num_clusters).astype(np.float32)
        weights_RC = weights.reshape(size, num_clusters)
        block, counts_RP = weights_RC @ sums_CK, weights_RC @ counts_CP
        for p, rows in enumerate(rows_of.values()):
            with np.errstate(invalid="ignore"):  # a draw without items of a rare kind has no mean
                out_RK[start : start + size, rows] = block[:, rows] / counts_RP[:, p : p + 1]
    return out_RK


def _by_cluster(
    values_KN: Floats, clusters_N: NDArray[np.int64], num_clusters: int
) -> NDArray[np.float32]:
    out = np.zeros((num_clusters, len(values_KN)))
    np.add.at(out, clusters_N, values_KN.T)
    return out.astype(np.float32)
