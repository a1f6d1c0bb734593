"""Scores of probabilities against labels, as the field defines them.

Legend: N image, C class.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.errors import TrainingError
from diffuprompt.record import Score, pack_hits

ECE_BINS = 15


def score(variant: str, subset: str, logits_NC: Tensor, labels_N: Tensor) -> Score:
    """Return top-1 accuracy, macro F1, NLL and ECE; percentages but for the NLL (nats).

    Raises:
        TrainingError: logits are not finite; there is no honest answer to count.
    """
    logits, labels = logits_NC.double().cpu(), labels_N.cpu()
    bad = int((~logits.isfinite().all(1)).sum())
    if bad:
        raise TrainingError(
            f"{variant} on {subset}: logits of {bad} of {len(labels)} images are not finite; "
            "train again at a lower learning rate"
        )
    predicted = logits.argmax(1)
    hits = predicted == labels
    return Score(
        variant=variant,
        subset=subset,  # type: ignore[arg-type]
        correct=int(hits.sum()),
        total=len(labels),
        accuracy=100 * float(hits.double().mean()),
        macro_f1=100 * macro_f1(predicted, labels),
        nll=float(functional.cross_entropy(logits, labels)),
        ece=100 * calibration_error(logits.softmax(1), labels),
        hits=pack_hits(hits.tolist()),
    )


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
