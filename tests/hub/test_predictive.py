"""Measures of disagreement between draws, in closed form and against loops."""

from __future__ import annotations

import math

import pytest
import torch

from diffuprompt.hub.predictive import joined, predictive

FLOAT32 = 1e-6  # computed in float64, returned in float32


def entropy(row: list[float]) -> float:
    return -sum(p * math.log(p) for p in row if p)


def test_two_certain_draws_that_contradict_each_other() -> None:
    found = predictive(torch.eye(2).unsqueeze(1))  # (M = 2, N = 1, C = 2)
    assert found.probabilities.tolist() == [[0.5, 0.5]]
    assert found.disagreement.tolist() == [0.5]  # a tie goes to the first class
    assert found.std.tolist() == [0.5]
    assert found.mutual_information.tolist() == [pytest.approx(math.log(2), abs=FLOAT32)]


def test_draws_that_are_unsure_in_the_same_way_do_not_disagree() -> None:
    same = torch.tensor([[0.4, 0.3, 0.3], [1.0, 0.0, 0.0]]).expand(5, 2, 3)
    found = predictive(same)
    torch.testing.assert_close(found.probabilities, same[0])
    for measure in (found.disagreement, found.std, found.mutual_information):
        assert measure.tolist() == pytest.approx([0, 0], abs=FLOAT32)
        assert (measure >= 0).all()


def test_measures_are_the_loops_over_pictures_and_draws() -> None:
    stream = torch.Generator().manual_seed(0)
    draws = (3 * torch.randn(6, 20, 4, generator=stream)).softmax(2)
    found = predictive(draws)
    assert 0 < float(found.disagreement.mean()) < 1
    for n in range(20):
        rows = draws[:, n].tolist()
        mean = [sum(row[c] for row in rows) / 6 for c in range(4)]
        first = mean.index(max(mean))
        votes = sum(row.index(max(row)) != first for row in rows)
        spread = math.sqrt(sum((row[first] - mean[first]) ** 2 for row in rows) / 6)
        information = entropy(mean) - sum(map(entropy, rows)) / 6
        assert found.probabilities[n].tolist() == pytest.approx(mean, abs=FLOAT32)
        assert float(found.disagreement[n]) == pytest.approx(votes / 6, abs=FLOAT32)
        assert float(found.std[n]) == pytest.approx(spread, abs=FLOAT32)
        assert float(found.mutual_information[n]) == pytest.approx(information, abs=FLOAT32)


def test_batches_are_put_behind_each_other() -> None:
    draws = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(1)).softmax(2)
    whole, parts = predictive(draws), joined([predictive(draws[:, :2]), predictive(draws[:, 2:])])
    for name in ("probabilities", "disagreement", "std", "mutual_information"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))
