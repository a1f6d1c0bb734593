"""At which rank an expression's object was found (MDETR's protocol).

`record_expressions.recalls` makes R@K and UB of ranks. Nothing found is a miss.
"""

from __future__ import annotations

from torch import Tensor

from diffuprompt.grounding.detectors.boxes import giou, iou

IOU = 0.5


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
