"""From what the head says to boxes: scores of a phrase, suppression, the best hundred.

Legend: A anchor, S text token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.grounding.contract import Detections
from diffuprompt.grounding.detectors.boxes import clipped, counted, decode, nms
from diffuprompt.grounding.detectors.glip import Raw

MIN_SCORE, MAX_PER_LEVEL, NMS_IOU, MAX_BOXES = 0.05, 1000, 0.6, 100


@torch.inference_mode()
def detections(
    raw: Raw,
    index: int,
    tokens: Tensor,
    size: tuple[int, int],
    *,
    plus: float,
    min_score: float = MIN_SCORE,
) -> Detections:
    """Return the boxes of a phrase in image ``index``, exclusive ends.

    Anchors are kept by the phrase's probability alone and ranked by it times the centerness, as
    GLIP does; a phrase that is nowhere probable still gets its best box, where GLIP returns none.

    Args:
        raw: what the head says.
        index: of the image.
        tokens: positions of the phrase's tokens in the caption; their probabilities are averaged.
        size: height and width, to which boxes are cut.
        plus: see `GlipConfig`.
        min_score: of the phrase's mean probability; the best is kept whatever it is.
    """
    words = raw.words[index][:, tokens].sigmoid().mean(-1)
    both = words * raw.centre[index].sigmoid()
    kept, start = [], 0
    for count in raw.anchors.counts:
        seen = (words[start : start + count] > min_score).nonzero()[:, 0] + start
        kept.append(seen[both[seen].topk(min(MAX_PER_LEVEL, len(seen))).indices])
        start += count
    chosen = torch.cat(kept)
    if not len(chosen):
        chosen = words.argmax()[None]
    scores = both[chosen].sqrt()
    boxes = decode(raw.code[index, chosen], raw.anchors.boxes[chosen], plus=plus)
    boxes = clipped(boxes, size[0] - plus, size[1] - plus)
    best = nms(boxes, scores, NMS_IOU, plus=plus, most=MAX_BOXES)
    return Detections(boxes=counted(boxes[best], -plus), scores=scores[best])
