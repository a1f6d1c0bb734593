"""Classes as Gaussians with one covariance: the linear classifier that follows (arXiv 2402.04087).

Legend: N images (views count), C class, K classes of training, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Covariance = Literal["pooled", "per-class"]
ALPHAS = tuple(10 ** (half / 2) for half in range(-8, 5))  # 1e-4 to 1e2, two a decade
UNCHOSEN = 1.0  # where pictures that are left out tell nothing
FOLDS = 4


@dataclass(frozen=True)
class Gaussians:
    """Means ``(K, E)`` of classes and the inverse ``(E, E)`` of the covariance that they share."""

    mean_KE: Tensor
    precision_EE: Tensor

    @property
    def rows(self) -> tuple[Tensor, Tensor]:
        """Weights ``(K, E)`` and biases ``(K,)`` of the trained classes."""
        return discriminant(self.mean_KE, self.precision_EE)


def discriminant(mean_CE: Tensor, precision_EE: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights ``mean P`` and biases ``-mean P mean / 2`` of equally frequent classes."""
    weight_CE = mean_CE @ precision_EE
    return weight_CE, -0.5 * (weight_CE * mean_CE).sum(1)


def gaussians(
    feature_NE: Tensor, label_N: Tensor, num_classes: int, covariance: Covariance
) -> Gaussians:
    """Return the means, and ``E pinv((N - 1) Cov + tr(Cov) I)``.

    Args:
        feature_NE: unit features.
        label_N: labels among ``num_classes``; a class without images has the mean 0.
        num_classes: K.
        covariance: "pooled" over all images around the mean of their class, or the mean over
            classes of the covariance of each.
    """
    count, width = feature_NE.shape
    hot_NK = functional.one_hot(label_N, num_classes).to(feature_NE.dtype)
    size_K = hot_NK.sum(0)
    mean_KE = hot_NK.T @ feature_NE / size_K.clamp_min(1)[:, None]
    centred_NE = feature_NE - mean_KE[label_N]
    if covariance == "pooled":
        share_N = torch.full_like(label_N, 1, dtype=feature_NE.dtype) / max(count - 1, 1)
    else:
        share_N = (1 / (size_K - 1).clamp_min(1))[label_N] / int((size_K > 0).sum())
    cov_EE = (centred_NE * share_N[:, None]).T @ centred_NE
    ridge_EE = cov_EE.trace() * torch.eye(width, dtype=cov_EE.dtype, device=cov_EE.device)
    inverse_EE = torch.linalg.pinv((count - 1) * cov_EE + ridge_EE, hermitian=True)
    return Gaussians(mean_KE, width * inverse_EE)


def folds_of(label_M: Tensor) -> Tensor:
    """Return in which of `FOLDS` each picture is left out; -1 for the only picture of a class."""
    hot_MK = functional.one_hot(label_M)
    rank_M = (hot_MK.cumsum(0) - 1).gather(1, label_M[:, None])[:, 0]
    return torch.where(hot_MK.sum(0)[label_M] > 1, rank_M % FOLDS, -1)


def chosen_alpha(
    feature_NE: Tensor,
    label_N: Tensor,
    zero_shot_NK: Tensor,
    fold_N: Tensor,
    covariance: Covariance,
) -> float:
    """Return the smallest of `ALPHAS` with the most right answers on pictures left out in turn.

    `UNCHOSEN` where none can be left out, or what is left makes a classifier of zeros: of two shots
    one is left, which lies on its mean.

    Args:
        feature_NE: unit features.
        label_N: labels among K classes.
        zero_shot_NK: logits that the classifier is added to.
        fold_N: when an image is left out: all views of a picture at once.
        covariance: as in `gaussians`.
    """
    right, is_told = [0] * len(ALPHAS), False
    for fold in range(FOLDS):
        out_N = fold_N == fold
        if not bool(out_N.any()):
            continue
        num_classes = zero_shot_NK.shape[1]
        weight, bias = gaussians(feature_NE[~out_N], label_N[~out_N], num_classes, covariance).rows
        is_told |= bool(weight.any())
        added = feature_NE[out_N] @ weight.T + bias
        for i, alpha in enumerate(ALPHAS):
            answer = (zero_shot_NK[out_N] + alpha * added).argmax(1)
            right[i] += int((answer == label_N[out_N]).sum())
    return ALPHAS[right.index(max(right))] if is_told else UNCHOSEN
