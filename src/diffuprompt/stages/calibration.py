"""How honest probabilities are, and how well scores tell known from unknown pictures.

Legend: N known image, U unknown image, C class.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.data import Needs
from diffuprompt.learners import Learner
from diffuprompt.stages.flat_prompts import own_of
from diffuprompt.stages.metrics import calibration_error
from diffuprompt.stages.score import BATCH, Ask, Images, Maker

LOW, HIGH = 1e-2, 1e2  # of a temperature
HALVINGS = 60  # of the interval: to the last bit
TPR = 0.95  # the share of known pictures that a threshold has to let through


@torch.inference_mode()
def logits_of(learner: Learner, images: Images, make: Maker | None = None) -> Tensor:
    """Return logits ``(N, C)`` of all images, float64 on the CPU; ``make`` makes their prompts."""
    needs = learner.needs | Needs(features=make is not None)
    images.warm(needs)
    text = learner.static_text(images.classes) if make is None else None
    out = []
    for index in torch.arange(len(images)).split(BATCH) if len(images) else ():
        batch, prompts = images.batch(index, needs=needs), None
        if make is not None:
            assert batch.features is not None
            ask = Ask(index, batch.features, own_of(learner, batch.features))
            prompts = learner.spec.unpack(make(ask))
        out.append(learner.logits(batch, images.classes, prompts, text).cpu().double())
    return torch.cat(out) if out else torch.zeros(0, len(images.classes), dtype=torch.double)


def fitted_temperature(logits_NC: Tensor, labels_N: Tensor) -> float:
    """Return the temperature of the least cross-entropy (Guo et al. 2017), from 0.01 to 100.

    The loss is convex in 1 / T, so that the zero of its derivative is found by halving. Labels are
    smoothed by 1 / (N + 2), as Platt (1999) does for the same purpose: few pictures that are all
    named rightly must not make answers certain.
    """
    count = len(logits_NC)
    smooth = 1 / (count + 2)
    right = logits_NC.gather(1, labels_N[:, None])[:, 0]
    target = float(((1 - smooth) * right + smooth * logits_NC.mean(1)).mean())
    low, high = 1 / HIGH, 1 / LOW
    for _ in range(HALVINGS):
        beta = (low * high) ** 0.5
        expected = float(((logits_NC * beta).softmax(1) * logits_NC).sum(1).mean())
        low, high = (beta, high) if expected < target else (low, beta)
    return 1 / (low * high) ** 0.5


def crossed(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Return logits over a temperature: each half (every second image) over that of the other."""
    after = logits_NC.clone()
    for start in (0, 1):
        other = slice(1 - start, None, 2)
        after[start::2] /= fitted_temperature(logits_NC[other], labels_N[other])
    return after


def is_closer(logits_NC: Tensor, than_NC: Tensor, labels_N: Tensor) -> bool:
    """Whether logits have a smaller cross-entropy than others."""
    mine, other = (functional.cross_entropy(z, labels_N) for z in (logits_NC, than_NC))
    return bool(mine < other)


def error_of(logits_NC: Tensor, labels_N: Tensor) -> float:
    """Return the expected calibration error, from 0 to 1."""
    hits = logits_NC.argmax(1) == labels_N
    return calibration_error(logits_NC.softmax(1).amax(1), hits)


def auroc(known_N: Tensor, unknown_U: Tensor) -> float:
    """Return the share of pairs in which the known picture has the higher score; ties count half.

    The area under the ROC curve (Mann and Whitney 1947), from 0 to 1.
    """
    ordered = unknown_U.sort().values
    below = torch.searchsorted(ordered, known_N)
    upto = torch.searchsorted(ordered, known_N, right=True)
    return float((below + upto).double().mean() / (2 * len(unknown_U)))


def fpr_at_tpr(known_N: Tensor, unknown_U: Tensor, tpr: float = TPR) -> float:
    """Return the share of unknown pictures that pass where ``tpr`` of the known ones do."""
    return float((unknown_U >= threshold_of(known_N, tpr)).double().mean())


def threshold_of(known_N: Tensor, tpr: float = TPR) -> float:
    """Return the highest threshold that at least ``tpr`` of the known pictures reach."""
    refused = int(len(known_N) * (1 - tpr) + 1e-9)
    return float(known_N.sort().values[refused])


def best_threshold(known_N: Tensor, unknown_U: Tensor) -> float:
    """Return the threshold of the most right answers where known and unknown count alike.

    Youden's J (1950): the most of TPR - FPR. Of all that are equally good the middle of the widest
    gap between scores is taken.
    """
    scores = torch.cat([known_N, unknown_U]).unique()
    cuts = torch.cat([scores[:1], (scores[1:] + scores[:-1]) / 2])
    gaps = torch.cat([torch.zeros(1, dtype=scores.dtype), scores[1:] - scores[:-1]])
    below_N, below_U = (torch.searchsorted(of.sort().values, cuts) for of in (known_N, unknown_U))
    passed = below_U.double() / len(unknown_U) - below_N.double() / len(known_N)
    best = (passed >= passed.max() - 1e-12).nonzero()[:, 0]
    return float(cuts[best[gaps[best].argmax()]])
