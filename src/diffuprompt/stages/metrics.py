"""Scores of probabilities against labels, as the field defines them.

Legend: M draw, N image, C class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.errors import TrainingError
from diffuprompt.record import Score, pack_hits

ECE_BINS = 15
COVERAGES = (50, 80, 90)  # per cent of the images that are answered


def score(variant: str, subset: str, logits_NC: Tensor, labels_N: Tensor) -> Score:
    """Return all measures of one set of images; percentages but for the NLL (nats).

    Confidence, in the ECE and in the order of selective prediction, is the largest probability.

    Raises:
        TrainingError: logits are not finite; there is no honest answer to count.
    """
    logits, labels = logits_NC.cpu().double(), labels_N.cpu()  # MPS has no float64
    bad = int((~logits.isfinite().all(1)).sum())
    if bad:
        raise TrainingError(
            f"{variant} on {subset}: logits of {bad} of {len(labels)} images are not finite; "
            "train again at a lower learning rate"
        )
    predicted = logits.argmax(1)
    hits = predicted == labels
    probabilities = logits.softmax(1)
    risk = risk_coverage(probabilities.amax(1), hits)
    return Score(
        variant=variant,
        subset=subset,  # type: ignore[arg-type]
        correct=int(hits.sum()),
        total=len(labels),
        accuracy=100 * float(hits.double().mean()),
        macro_f1=100 * macro_f1(predicted, labels),
        nll=float(functional.cross_entropy(logits, labels)),
        ece=100 * calibration_error(probabilities, labels),
        selective={str(percent): 100 * selective_accuracy(risk, percent) for percent in COVERAGES},
        aurc=100 * float(risk.mean()),
        hits=pack_hits(hits.tolist()),
    )


def pooled(logits_MNC: Sequence[Tensor]) -> Tensor:
    """Return logits ``(N, C)`` of the mean of M draws' probabilities, in float64 on the host.

    One draw stays as it is.
    """
    if len(logits_MNC) == 1:
        return logits_MNC[0]
    log_probabilities = torch.stack([logits.cpu().double().log_softmax(1) for logits in logits_MNC])
    return log_probabilities.logsumexp(0) - math.log(len(logits_MNC))


def macro_f1(predicted_N: Tensor, labels_N: Tensor) -> float:
    """Unweighted mean of the classes' F1, over classes that occur in ``labels`` (Dassl)."""
    scores = []
    for label in labels_N.unique():
        right = float(((predicted_N == label) & (labels_N == label)).sum())
        named, present = float((predicted_N == label).sum()), float((labels_N == label).sum())
        scores.append(2 * right / (named + present))
    return sum(scores) / len(scores)


def calibration_error(probabilities_NC: Tensor, labels_N: Tensor, bins: int = ECE_BINS) -> float:
    """Expected calibration error over equal-width confidence bins (Guo et al. 2017, eq. 3)."""
    confidence, predicted = probabilities_NC.max(1)
    right = (predicted == labels_N).double()
    place = (confidence * bins).ceil().clamp(1, bins).long() - 1
    gap = torch.zeros(bins, dtype=torch.double).index_add(0, place, right - confidence)
    return float(gap.abs().sum() / len(labels_N))


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
