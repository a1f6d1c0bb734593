"""The few statistics that the tables need; plain numpy, every one tested against brute force.

Legend: S seed, N test image, R resample, P distinct outcome pattern.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffuprompt.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

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


def paired_bootstrap(
    a: Mapping[str, Bools],
    b: Mapping[str, Bools],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Return the mean paired difference ``a - b`` in points with a percentile interval.

    Two levels are resampled with replacement: seeds, and test images. All seeds score the same
    images, so one draw of images serves every seed of a resample (a crossed design; drawing
    images anew for each seed would make the interval too narrow). The draw of seeds is shared by
    the subsets, the draws of images are not, since base and new images are disjoint.

    Images with the same outcomes under both methods and all seeds are interchangeable, so instead
    of N images the P distinct patterns are drawn from a multinomial: the same distribution at a
    cost that hardly depends on N.

    Args:
        a: subset -> hits ``(S, N)``; subsets may differ in N.
        b: the same shapes, seeds and images for the other method.
        resamples: R.
        seed: of this bootstrap alone; nothing uses a global stream.
        level: mass of the interval.

    Raises:
        DataError: the subsets or shapes of ``a`` and ``b`` differ.
    """
    shapes_a, shapes_b = {k: v.shape for k, v in a.items()}, {k: v.shape for k, v in b.items()}
    if shapes_a != shapes_b or len({s[0] for s in shapes_a.values()}) != 1:
        raise DataError(f"paired hits need equal shapes (S, N), got {shapes_a} and {shapes_b}")
    rng = np.random.default_rng(seed)
    num_seeds = next(iter(shapes_a.values()))[0]
    drawn_RS = rng.integers(num_seeds, size=(resamples, num_seeds))
    left: dict[str, Floats] = {}
    right: dict[str, Floats] = {}
    for subset in sorted(a):
        both = np.concatenate([a[subset], b[subset]]).astype(np.int64)
        patterns, counts = np.unique(both, axis=1, return_counts=True)
        total = int(counts.sum())
        weights_RP = rng.multinomial(total, counts / total, size=resamples)
        accuracy = 100 * (weights_RP @ patterns.T) / total
        left[subset] = np.take_along_axis(accuracy[:, :num_seeds], drawn_RS, axis=1)
        right[subset] = np.take_along_axis(accuracy[:, num_seeds:], drawn_RS, axis=1)
    left, right = add_harmonic(left), add_harmonic(right)
    estimates = {k: float(v.mean()) for k, v in paired_differences(a, b).items()}
    tails = [(1 - level) / 2, (1 + level) / 2]
    out = {}
    for metric, estimate in estimates.items():
        low, high = np.quantile((left[metric] - right[metric]).mean(axis=1), tails)
        out[metric] = Interval(estimate=estimate, low=float(low), high=float(high))
    return out
