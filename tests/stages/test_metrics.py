"""Scores against scikit-learn and against loops that spell the definitions out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diffuprompt.errors import TrainingError
from diffuprompt.stages.metrics import (
    COVERAGES,
    ECE_BINS,
    Answers,
    calibration_error,
    macro_f1,
    measures,
    risk_coverage,
    selective_accuracy,
)

# float64 sums of at most a few hundred terms
EXACT = 1e-12


def answers(logits: Tensor, labels: Tensor, size: int = 1000) -> Answers:
    """What is kept of these images, put in batches of ``size``."""
    found = Answers.empty(len(labels))
    for start in range(0, len(labels), size):
        found.put(start, [logits[start : start + size]], labels[start : start + size])
    return found


def predictions(seed: int, images: int = 200, classes: int = 7) -> tuple[Tensor, Tensor]:
    """Logits that are right more often than not, and labels that miss the last class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes - 1, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(images), labels] += 1.5
    return logits, labels


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_sklearns_over_the_labels_that_occur(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    logits, labels = predictions(seed)
    predicted = logits.argmax(1)
    assert (predicted == 6).any()  # a class that is named but never present: it does not count
    expected = metrics.f1_score(labels, predicted, average="macro", labels=labels.unique())
    assert macro_f1(predicted, labels) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_is_the_loop_over_bins(seed: int) -> None:
    logits, labels = predictions(seed)
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    expected = 0.0
    for b in range(ECE_BINS):
        inside = [
            i for i, c in enumerate(confidence.tolist()) if b / ECE_BINS < c <= (b + 1) / ECE_BINS
        ]
        if inside:
            accuracy = sum(int(predicted[i] == labels[i]) for i in inside) / len(inside)
            mean = sum(float(confidence[i]) for i in inside) / len(inside)
            expected += len(inside) / len(labels) * abs(accuracy - mean)
    found = calibration_error(confidence, predicted == labels)
    assert found == pytest.approx(expected, abs=EXACT)


def test_calibration_error_of_extreme_confidences() -> None:
    sure, hits = torch.ones(4, dtype=torch.float64), torch.ones(4, dtype=torch.bool)
    assert calibration_error(sure, hits) == 0
    assert calibration_error(sure, ~hits) == 1
    even = torch.zeros(4, 4, dtype=torch.float64)  # ties go to class 0
    ece = measures(answers(even, torch.arange(4)), torch.arange(4))["ece"]
    assert ece == pytest.approx(0, abs=EXACT)


def test_risk_and_coverage_in_closed_form() -> None:
    confidence = torch.tensor([0.9, 0.2, 0.7, 0.4], dtype=torch.float64)
    last_wrong = risk_coverage(confidence, torch.tensor([True, False, True, True]))
    assert last_wrong.tolist() == [0, 0, 0, 1 / 4]
    first_wrong = risk_coverage(confidence, torch.tensor([False, True, True, True]))
    assert first_wrong.tolist() == [1, 1 / 2, 1 / 3, 1 / 4]
    assert selective_accuracy(last_wrong, 50) == selective_accuracy(last_wrong, 75) == 1
    assert selective_accuracy(first_wrong, 50) == 1 / 2
    assert selective_accuracy(first_wrong, 51) == 1 - 1 / 3  # rounded up to three images
    assert selective_accuracy(first_wrong, 1) == 0  # at least one image


def test_equally_confident_images_keep_their_order() -> None:
    hits = torch.tensor([True, False] * 50)
    risk = risk_coverage(torch.full((100,), 0.3), hits)
    assert risk.tolist() == [(k // 2) / k for k in range(1, 101)]


@pytest.mark.parametrize("seed", range(3))
def test_selective_scores_are_the_loop_over_the_most_confident(seed: int) -> None:
    logits, labels = predictions(seed)
    confidence, predicted = logits.softmax(1).max(1)
    right = sorted(
        zip(confidence.tolist(), (predicted == labels).tolist(), strict=True), reverse=True
    )  # no two random confidences are equal
    risks = [sum(not hit for _, hit in right[:k]) / k for k in range(1, len(right) + 1)]
    found = measures(answers(logits, labels), labels)
    assert found["aurc"] == pytest.approx(100 * sum(risks) / len(risks), abs=100 * EXACT)
    for percent in COVERAGES:  # of 200 images
        expected = 100 * (1 - risks[2 * percent - 1])
        assert found[f"selective_{percent}"] == pytest.approx(expected, abs=100 * EXACT)


def test_measures_of_four_images() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.5]])
    labels = torch.tensor([0, 1, 1, 1])
    kept = answers(logits, labels)
    assert kept.predicted.tolist() == [0, 1, 0, 1]
    found = measures(kept, labels)
    assert found["accuracy"] == 75
    # class 0: precision 1/2, recall 1; class 1: precision 1, recall 2/3
    assert found["macro_f1"] == pytest.approx(100 * (2 / 3 + 4 / 5) / 2, abs=1e-10)
    gaps = [2.0, 1.0, -3.0, 0.5]  # of the true class over the other
    nll = sum(math.log1p(math.exp(-gap)) for gap in gaps) / 4
    assert found["nll"] == pytest.approx(nll, abs=EXACT)
    assert 0 <= found["ece"] <= 100


def test_what_is_kept_of_an_image_is_little_and_the_same_in_batches() -> None:
    logits, labels = predictions(0)
    whole, parts = answers(logits, labels), answers(logits, labels, size=7)
    for name, kept in vars(whole).items():
        assert torch.equal(kept, vars(parts)[name])
        assert kept.shape == labels.shape  # nothing grows with the number of classes
    assert measures(whole, labels) == measures(parts, labels)


def test_logits_that_are_not_finite_are_no_score() -> None:
    logits, labels = predictions(0, images=4)
    logits[2, 1] = float("nan")
    with pytest.raises(TrainingError, match="1 of 4 images from number 0 on are not finite"):
        answers(logits, labels)
