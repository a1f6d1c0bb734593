"""Temperature, AUROC, FPR and thresholds against closed forms and brute force."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffuprompt.stages.calibration import (
    auroc,
    best_threshold,
    crossed,
    error_of,
    fitted_temperature,
    fpr_at_tpr,
    is_closer,
    threshold_of,
)


def made(count: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Return logits that are ``temperature`` times those that the labels are drawn from."""
    stream = torch.Generator().manual_seed(0)
    honest = torch.randn(count, 5, generator=stream, dtype=torch.double) * 2
    labels = torch.multinomial(honest.softmax(1), 1, generator=stream)[:, 0]
    return honest * temperature, labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_logits_were_made_with_comes_back(temperature: float) -> None:
    logits, labels = made(20_000, temperature)
    # the inverse of the Fisher information of log T is below 2 / N here: two per cent are safe
    assert fitted_temperature(logits, labels) == pytest.approx(temperature, rel=0.02)


def test_scaled_logits_have_the_scaled_temperature() -> None:
    logits, labels = made(30, 1.0)
    one = fitted_temperature(logits, labels)
    assert fitted_temperature(3 * logits, labels) == pytest.approx(3 * one)


def test_few_pictures_that_are_all_right_make_nothing_certain() -> None:
    logits = torch.eye(4, dtype=torch.double)
    honest = (logits / fitted_temperature(logits, torch.arange(4))).softmax(1).amax(1)
    smooth = 1 / 6  # the smoothed label itself is what the fit can reach
    assert honest == pytest.approx([1 - smooth + smooth / 4] * 4)


def test_calibration_repairs_what_a_temperature_spoiled() -> None:
    logits, labels = made(4000, 4.0)
    honest = crossed(logits, labels)
    assert error_of(logits, labels) > 0.1
    assert error_of(honest, labels) < 0.03
    assert is_closer(honest, logits, labels)
    assert torch.equal(honest[0::2], logits[0::2] / fitted_temperature(logits[1::2], labels[1::2]))


def scores(known: int, unknown: int) -> tuple[Tensor, Tensor]:
    """Return scores with many ties."""
    stream = torch.Generator().manual_seed(1)
    a = torch.randint(2, 9, (known,), generator=stream).double()
    return a, torch.randint(0, 7, (unknown,), generator=stream).double()


def test_auroc_counts_pairs() -> None:
    known, unknown = scores(23, 31)
    pairs = known[:, None] - unknown[None]
    assert auroc(known, unknown) == pytest.approx(
        float(((pairs > 0).double() + (pairs == 0).double() / 2).mean())
    )
    assert auroc(known + 10, unknown) == 1
    assert auroc(known, known) == pytest.approx(0.5)


def test_the_threshold_lets_the_asked_share_through_and_is_the_highest_that_does() -> None:
    known, unknown = scores(40, 60)
    threshold = threshold_of(known)
    assert (known >= threshold).double().mean() >= 0.95
    higher = known[known > threshold].min()
    assert (known >= higher).double().mean() < 0.95
    assert fpr_at_tpr(known, unknown) == float((unknown >= threshold).double().mean())
    few = torch.tensor([3.0, 1.0, 2.0])
    assert threshold_of(few) == 1, "of three pictures none may be refused"


def test_the_best_threshold_has_the_most_of_youdens_j_and_lies_in_the_widest_gap() -> None:
    known, unknown = scores(23, 31)
    found = best_threshold(known, unknown)

    def youden(cut: float) -> float:
        return float((known >= cut).double().mean() - (unknown >= cut).double().mean())

    assert youden(found) == pytest.approx(max(youden(cut) for cut in torch.arange(-0.5, 10, 0.25)))
    many = torch.arange(300_000, dtype=torch.double)  # every pair of which does not fit anywhere
    assert best_threshold(many + 300_000, many) == 299_999.5
    apart = best_threshold(torch.tensor([5.0, 6.0]), torch.tensor([1.0, 2.0]))
    assert apart == pytest.approx(3.5)
