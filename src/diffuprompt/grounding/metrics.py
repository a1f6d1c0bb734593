"""At which rank an expression's object was found (MDETR's protocol), and how well its mask fits.

`record_expressions.recalls` makes R@K and UB of ranks. Nothing found is a miss.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from diffuprompt.grounding.detectors.boxes import giou, iou

IOU = 0.5
HALF = 0.5  # from where on a cell belongs to a mask


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


def mask_iou(maps_BHW: Tensor, truth_BHW: Tensor) -> Tensor:
    """Return the IoU ``(B,)`` of maps, from one half on, with true masks of any resolution."""
    size = (maps_BHW.shape[1], maps_BHW.shape[2])
    truth = functional.adaptive_avg_pool2d(truth_BHW[:, None], size)[:, 0] >= HALF
    guess = maps_BHW >= HALF
    both, either = (guess & truth).sum((1, 2)), (guess | truth).sum((1, 2))
    return both / either.clamp(min=1)
