"""Statistics against closed forms and brute force."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st

from diffuprompt.errors import DataError
from diffuprompt.report.stats import (
    Z95,
    harmonic_mean,
    joint_bootstrap,
    paired_bootstrap,
    paired_differences,
    paired_error,
    wilson,
)

percent = st.floats(0, 100, allow_subnormal=False)


@given(percent, percent)
def test_harmonic_mean_lies_between_minimum_and_arithmetic_mean(a: float, b: float) -> None:
    h = float(harmonic_mean(a, b))
    slack = 1e-9  # rounding of a few float64 operations on values up to 100
    assert min(a, b) - slack <= h <= (a + b) / 2 + slack
    assert h == float(harmonic_mean(b, a))


def test_harmonic_mean_closed_forms() -> None:
    np.testing.assert_allclose(harmonic_mean([60.0, 0.0, 0.0], [30.0, 50.0, 0.0]), [40, 0, 0])


@pytest.mark.parametrize(("correct", "total"), [(0, 7), (7, 7), (3, 10), (812, 1549)])
def test_wilson_ends_are_where_the_score_test_just_rejects(correct: int, total: int) -> None:
    low, high = (end / 100 for end in wilson(correct, total))
    assert 0 <= low < high <= 1
    for p in (low, high):
        score = (correct / total - p) ** 2 - Z95**2 * p * (1 - p) / total
        assert score == pytest.approx(0, abs=1e-12)  # terms are at most 1, in float64


def test_wilson_equals_a_published_value() -> None:
    """Newcombe (1998), table I, method 3: 81 of 263 gives 0.2553 to 0.3662."""
    np.testing.assert_allclose(wilson(81, 263), [25.53, 36.62], atol=0.005)  # as printed


def test_wilson_refuses_impossible_counts() -> None:
    for correct, total in [(1, 0), (0, 0), (3, 2), (-1, 5)]:
        with pytest.raises(DataError, match="correct"):
            wilson(correct, total)


def hits(seed: int, num_seeds: int, total: int, p: float) -> np.ndarray:
    return np.random.default_rng(seed).random((num_seeds, total)) < p


def test_bootstrap_matches_its_exact_distribution() -> None:
    """Two seeds, three images: all 2**2 * 3**3 equally likely resamples can be listed."""
    a = np.array([[1, 1, 0], [1, 0, 1]], dtype=bool)
    b = np.array([[0, 1, 0], [0, 0, 1]], dtype=bool)
    exact = [
        np.mean([100 * (a[s, list(images)].mean() - b[s, list(images)].mean()) for s in seeds])
        for seeds in product(range(2), repeat=2)
        for images in product(range(3), repeat=3)
    ]
    for level in (0.5, 0.95):
        got = paired_bootstrap({"all": a}, {"all": b}, resamples=20_000, level=level)["all"]
        assert got.estimate == pytest.approx(100 / 3)
        tails = [(1 - level) / 2, (1 + level) / 2]
        # the distribution sits on thirds of 100, far from both quantiles: no tolerance needed
        np.testing.assert_allclose([got.low, got.high], np.quantile(exact, tails))


def test_bootstrap_of_h_matches_a_plain_loop() -> None:
    a = {"base": hits(0, 3, 60, 0.8), "new": hits(1, 3, 40, 0.6)}
    b = {"base": hits(2, 3, 60, 0.7), "new": hits(3, 3, 40, 0.5)}
    rng = np.random.default_rng(9)
    loop = []
    for _ in range(4000):
        seeds = rng.integers(3, size=3)
        image = {k: rng.integers(v.shape[1], size=v.shape[1]) for k, v in a.items()}
        h = [
            harmonic_mean(*(x[k][seeds][:, image[k]].mean(axis=1) * 100 for k in ("base", "new")))
            for x in (a, b)
        ]
        loop.append(float((h[0] - h[1]).mean()))
    got = paired_bootstrap(a, b)["h"]
    # an interval's end from 4,000 resamples has a standard error near 2.6 / sqrt(4000) sd = 0.04 sd
    spread = 0.2 * float(np.std(loop))
    assert got.low == pytest.approx(np.quantile(loop, 0.025), abs=spread)
    assert got.high == pytest.approx(np.quantile(loop, 0.975), abs=spread)


def test_bootstrap_of_one_seed_has_the_binomial_standard_error() -> None:
    a, b = hits(0, 1, 2000, 0.7), np.zeros((1, 2000), dtype=bool)
    got = paired_bootstrap({"all": a}, {"all": b})["all"]
    p = a.mean()
    width = 2 * 1.96 * 100 * np.sqrt(p * (1 - p) / 2000)
    assert got.high - got.low == pytest.approx(width, rel=0.05)  # 10,000 resamples: 2 % per end


def test_bootstrap_is_paired_seeded_and_antisymmetric() -> None:
    a, b = {"all": hits(0, 3, 100, 0.6)}, {"all": hits(1, 3, 100, 0.5)}
    assert paired_bootstrap(a, b) == paired_bootstrap(a, b)
    assert paired_bootstrap(a, b, seed=1) != paired_bootstrap(a, b)
    same = paired_bootstrap(a, a)["all"]
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    forth, back = paired_bootstrap(a, b)["all"], paired_bootstrap(b, a)["all"]
    assert forth.estimate == pytest.approx(-back.estimate)


def test_bootstrap_refuses_unpaired_hits() -> None:
    with pytest.raises(DataError, match="equal shapes"):
        paired_bootstrap({"all": hits(0, 2, 5, 0.5)}, {"all": hits(0, 3, 5, 0.5)})
    with pytest.raises(DataError, match="equal shapes"):
        paired_bootstrap({"all": hits(0, 2, 5, 0.5)}, {"new": hits(0, 2, 5, 0.5)})


def test_bootstrap_cost_does_not_grow_with_the_images() -> None:
    a, b = {"all": hits(0, 3, 50_000, 0.7)}, {"all": hits(1, 3, 50_000, 0.7)}
    start = time.process_time()
    paired_bootstrap(a, b)
    assert time.process_time() - start < 2  # about 0.15 s; drawing every image would take minutes


def test_differences_of_h_use_each_seeds_own_h() -> None:
    a = {"base": np.array([[1, 1], [1, 0]], bool), "new": np.array([[1, 0], [1, 1]], bool)}
    b = {"base": np.zeros((2, 2), bool), "new": np.zeros((2, 2), bool)}
    np.testing.assert_allclose(paired_differences(a, b)["h"], [200 / 3, 200 / 3])


def test_joint_bootstrap_of_one_pair_twice_is_that_pair() -> None:
    """The draws are shared, so a copy adds no information and narrows no interval."""
    a = {"base": hits(0, 3, 60, 0.8), "new": hits(1, 3, 40, 0.6)}
    b = {"base": hits(2, 3, 60, 0.7), "new": hits(3, 3, 40, 0.5)}
    alone = paired_bootstrap(a, b, resamples=2500)
    twice = joint_bootstrap([(a, b), (a, b)], resamples=2500)
    for metric, interval in alone.items():
        assert twice[metric].estimate == pytest.approx(interval.estimate)
        assert (twice[metric].low, twice[metric].high) == (interval.low, interval.high)


def test_joint_bootstrap_of_opposite_pairs_is_exactly_zero() -> None:
    """What one wins on an image the other loses on the same: no image makes a difference."""
    a, b = {"all": hits(0, 2, 50, 0.9)}, {"all": hits(1, 2, 50, 0.3)}
    both = joint_bootstrap([(a, b), (b, a)], resamples=500)["all"]
    np.testing.assert_allclose([both.estimate, both.low, both.high], 0, atol=1e-12)  # of 100 points
    assert paired_bootstrap(a, b, resamples=500)["all"].low > 0


def test_joint_bootstrap_matches_its_exact_distribution() -> None:
    """Two learners, one seed, three images: the 3**3 equally likely resamples can be listed."""
    a, b, c, d = (
        np.array([row], dtype=bool) for row in ([1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1])
    )
    exact = [
        np.mean([100 * (x[0, list(i)].mean() - y[0, list(i)].mean()) for x, y in ((a, b), (c, d))])
        for i in product(range(3), repeat=3)
    ]
    pairs = [({"all": a}, {"all": b}), ({"all": c}, {"all": d})]
    got = joint_bootstrap(pairs, resamples=20_000, level=0.8)["all"]
    assert got.estimate == pytest.approx(100 / 3)
    # the distribution sits on thirds of 100, far from both quantiles: no tolerance needed
    np.testing.assert_allclose([got.low, got.high], np.quantile(exact, [0.1, 0.9]))


def test_the_error_of_a_paired_difference_is_the_spread_of_resampled_ones() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(300) < 0.8, rng.random(300) < 0.7
    drawn = rng.integers(300, size=(20_000, 300))
    spread = (a[drawn].mean(1) - b[drawn].mean(1)).std()
    assert paired_error(a.tolist(), b.tolist()) == pytest.approx(spread, rel=0.02)
    assert paired_error([True], [False]) == float("inf")
    assert paired_error([True, False], [True, False]) == 0
