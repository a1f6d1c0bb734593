"""Scores of probabilities against labels, as the field defines them.

Legend: M draw, N image, C class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.errors import TrainingError

ECE_BINS = 15
COVERAGES = (50, 80, 90)  # per cent of the images that are answered


@dataclass(frozen=True, eq=False)
class Answers:
    """What is kept of every image: enough for all measures, and little.

    Attributes:
        predicted: the first name, ``(N,)`` int64.
        confidence: its probability, ``(N,)`` float64.
        nll: minus the log probability of the label in nats, ``(N,)`` float64.
    """

    predicted: Tensor
    confidence: Tensor
    nll: Tensor

    @classmethod
    def empty(cls, count: int) -> Answers:
        """Return answers of ``count`` images, still to be filled in."""
        numbers = [torch.zeros(count, dtype=torch.double) for _ in range(2)]
        return cls(torch.zeros(count, dtype=torch.long), *numbers)

    def put(self, start: int, logits_MBC: Sequence[Tensor], labels_B: Tensor) -> None:
        """Fill in images from ``start`` on; of several draws, their mean probabilities count.

        Raises:
            TrainingError: logits are not finite; there is no honest answer to count.
        """
        logits_BC = pooled([logits.cpu().double() for logits in logits_MBC])
        bad = int((~logits_BC.isfinite().all(1)).sum())
        if bad:
            raise TrainingError(
                f"logits of {bad} of {len(logits_BC)} images from number {start} on are not "
                "finite; train again at a lower learning rate"
            )
        labels, at = labels_B.cpu(), slice(start, start + len(logits_BC))
        self.predicted[at] = logits_BC.argmax(1)
        self.confidence[at] = logits_BC.softmax(1).amax(1)
        self.nll[at] = functional.cross_entropy(logits_BC, labels, reduction="none")


def measures(answers: Answers, labels_N: Tensor) -> dict[str, float]:
    """Return all measures of one set of images; per cent but for "nll" (nats).

    Confidence, in the ECE and in the order of selective prediction, is the largest probability.
    """
    labels = labels_N.cpu()
    hits = answers.predicted == labels
    risk = risk_coverage(answers.confidence, hits)
    return {
        "accuracy": 100 * float(hits.double().mean()),
        "macro_f1": 100 * macro_f1(answers.predicted, labels),
        "nll": float(answers.nll.mean()),
        "ece": 100 * calibration_error(answers.confidence, hits),
        **{f"selective_{p}": 100 * selective_accuracy(risk, p) for p in COVERAGES},
        "aurc": 100 * float(risk.mean()),
    }


def pooled(logits_MBC: Sequence[Tensor]) -> Tensor:
    """Return logits ``(B, C)`` of the mean of M draws' probabilities; one draw stays as it is."""
    if len(logits_MBC) == 1:
        return logits_MBC[0]
    log_probabilities = torch.stack([logits.cpu().double().log_softmax(1) for logits in logits_MBC])
    return log_probabilities.logsumexp(0) - math.log(len(logits_MBC))


def macro_f1(predicted_N: Tensor, labels_N: Tensor) -> float:
    """Unweighted mean of the classes' F1, over classes that occur in ``labels`` (Dassl)."""
    scores = []
    for label in labels_N.unique():
        right = float(((predicted_N == label) & (labels_N == label)).sum())
        named, present = float((predicted_N == label).sum()), float((labels_N == label).sum())
        scores.append(2 * right / (named + present))
    return sum(scores) / len(scores)


def calibration_error(confidence_N: Tensor, hits_N: Tensor, bins: int = ECE_BINS) -> float:
    """Expected calibration error over equal-width confidence bins (Guo et al. 2017, eq. 3)."""
    right = hits_N.double()
    place = (confidence_N * bins).ceil().clamp(1, bins).long() - 1
    gap = torch.zeros(bins, dtype=torch.double).index_add(0, place, right - confidence_N)
    return float(gap.abs().sum() / len(hits_N))


def risk_coverage(confidence_N: Tensor, hits_N: Tensor) -> Tensor:
    """Return ``(N,)``: the share of errors among the k most confident images, k from 1 to N.

    Its mean is the AURC, the area under the risk-coverage curve (Geifman and El-Yaniv 2017; as
    averaged in Geifman et al. 2019). Equally confident images keep their order.
    """
    order = confidence_N.argsort(descending=True, stable=True)
    wrong = (~hits_N[order]).double()
    return wrong.cumsum(0) / torch.arange(1, len(wrong) + 1, dtype=torch.double)


def selective_accuracy(risk_N: Tensor, percent: int) -> float:
    """Accuracy if only the most confident ``percent`` of N images, rounded up, are answered."""
    answered = -(-len(risk_N) * percent // 100)
    return 1 - float(risk_N[answered - 1])
