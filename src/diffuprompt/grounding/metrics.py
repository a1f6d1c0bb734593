"""How well expressions were found: recall at K and upper bound, by expression (MDETR's protocol).

R@K is the share of expressions one of whose K best boxes overlaps the true box by 0.5 or more; UB
is the same with all boxes. Nothing found is a miss.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffuprompt.grounding.detectors.boxes import giou, iou

IOU = 0.5
RANKS = (1, 5, 10)


def first_hit(boxes_N4: Tensor, truth_4: Tensor, *, generalised: bool = False) -> int:
    """Return the rank (from 0) of the first box that overlaps the truth enough, -1 for none.

    ``generalised`` compares the generalised IoU, which is never larger, as Diff-Prompt's evaluator
    does.
    """
    if not len(boxes_N4):
        return -1
    measure = giou if generalised else iou
    good = measure(boxes_N4, truth_4[None])[:, 0] >= IOU
    return int(good.nonzero()[0]) if good.any() else -1


def recalls(ranks: Sequence[int]) -> dict[str, float]:
    """Return "r1", "r5", "r10" and "ub" in per cent from the ranks of `first_hit`."""
    hits = torch.tensor(ranks)
    found = {f"r{k}": ((hits >= 0) & (hits < k)).float().mean() for k in RANKS}
    return {name: 100 * float(v) for name, v in {**found, "ub": (hits >= 0).float().mean()}.items()}
