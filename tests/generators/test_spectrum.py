from __future__ import annotations

import json

import pytest
import torch
from tests.generators.toy import randn

from diffuprompt.generators.spectrum import RANKS, ROWS, measure


def matrix(values, rows, columns):
    """A matrix with these singular values."""
    left, _ = torch.linalg.qr(randn(rows, len(values), name="left"))
    right, _ = torch.linalg.qr(randn(columns, len(values), name="right"))
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T


@pytest.mark.parametrize(("rows", "columns"), [(12, 30), (30, 12)])
def test_recovers_known_singular_values(rows, columns):
    values = [4.0, 2.0, 1.0, 1.0]
    start = randn(rows, columns, name="start")
    found = measure(start, start + matrix(values, rows, columns))
    # of a Gram matrix: the square root of float64 rounding at the size of the largest
    torch.testing.assert_close(found.values[:4], torch.tensor(values).double(), rtol=0, atol=1e-6)
    assert float(found.values[4:].abs().max()) < 1e-6
    statistics = found.statistics()
    assert statistics["overfit_energy_rank_1"] == pytest.approx(16 / 22)
    assert statistics["overfit_energy_rank_2"] == pytest.approx(20 / 22)
    assert statistics["overfit_energy_rank_4"] == pytest.approx(1)
    assert statistics["overfit_energy_rank_256"] == pytest.approx(1)
    assert sorted(k for k in statistics if "energy" in k) == sorted(
        f"overfit_energy_rank_{rank}" for rank in RANKS
    )


@pytest.mark.parametrize("count", [1, 3, 8])
def test_effective_rank_counts_equal_directions(count):
    start = torch.zeros(10, 20, dtype=torch.float64)
    found = measure(start, matrix([2.0] * count, 10, 20))
    # singular values near 1e-8 that should be zero add a little entropy each
    assert found.effective_rank == pytest.approx(count, rel=1e-4)


def test_mean_share_is_one_for_one_shift_and_small_for_none():
    start = randn(50, 8, name="start")
    assert measure(start, start + randn(1, 8, name="shift")).mean_share == pytest.approx(1)
    apart = randn(50, 8, name="apart")
    assert measure(start, start + apart - apart.mean(0)).mean_share == pytest.approx(0, abs=1e-12)


def test_json_is_small_and_plain():
    start = randn(300, 300, name="start")
    found = measure(start, start + randn(300, 300, name="other")).to_json()
    assert len(found["singular_values"]) == 256
    assert found["images"] == found["coordinates"] == 300
    assert found["energy_rank_1"] < found["energy_rank_256"] < 1
    assert len(json.dumps(found)) < 8000


def test_no_change_has_no_energy_and_no_nan():
    start = randn(5, 4, name="start")
    assert set(measure(start, start).statistics().values()) <= {0.0, 1.0}


def test_very_many_images_are_sampled_evenly():
    start = torch.zeros(ROWS + 1, 3)
    target = start.clone()
    target[-1] = 1.0  # the last image is one of the sample
    found = measure(start, target)
    assert found.images == ROWS
    assert float(found.values[0]) == pytest.approx(3**0.5)
