"""Class lists that are functions of the label only, so that no result depends on the batch.

A list is a row of ascending class indices that holds the label itself; images of one label share
one list, and the text path then computes only its classes.

Legend: B image of a batch, C class, M listed class, N image.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Confusion:
    """What images of each label are taken for, added up batch by batch.

    Classes are ranked by the mean probability that images of the label give them. The mean over a
    class, and not each image's own ranking, keeps one list per label; probabilities, and not the
    similarity of the names, because those say what enters the cross-entropy: of 50 classes of
    Caltech101, 8 negatives chosen so keep 79 % of the zero-shot probability of test images, 8 by
    similar text features 63 %, and 8 chosen for every image alone 85 %.
    """

    def __init__(self, num_classes: int) -> None:
        self._sums = torch.zeros(num_classes, num_classes)
        self._counts = torch.zeros(num_classes)

    def add(self, probabilities_BC: Tensor, labels_B: Tensor) -> None:
        """Add images with these probabilities and labels."""
        one_hot = torch.nn.functional.one_hot(labels_B, len(self._counts)).to(self._sums)
        self._sums += one_hot.T @ probabilities_BC.to(self._sums)
        self._counts += one_hot.sum(0)

    def hardest(self, negatives: int) -> Tensor:
        """Return ``(C, 1 + negatives)``: every class and those it is most confused with.

        Raises:
            ValueError: there are not that many other classes.
        """
        count = len(self._counts)
        if not 0 < negatives < count:
            raise ValueError(f"expected 1 to {count - 1} other classes, got {negatives}")
        mean_CC = self._sums / self._counts[:, None].clamp_min(1)
        mean_CC.fill_diagonal_(torch.inf)
        # A stable sort: ties, as of a class without images, go to the lower index everywhere.
        order = mean_CC.argsort(dim=1, descending=True, stable=True)
        return order[:, : 1 + negatives].sort(dim=1).values


def union(labels_B: Tensor, num_classes: int, size: int, generator: torch.Generator) -> Tensor:
    """Return ``(M,)``: the labels of a batch and random others up to ``size`` classes.

    More where the batch alone holds more than ``size`` labels.
    """
    own = labels_B.unique()
    order = torch.randperm(num_classes, generator=generator).to(own.device)
    others = order[~torch.isin(order, own)]
    return torch.cat([own, others[: max(size - len(own), 0)]]).sort().values
