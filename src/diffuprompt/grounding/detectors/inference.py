"""From what the head says to boxes: scores of a phrase, suppression, the best hundred.

Legend: A anchor, S text token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.grounding.contract import Detections
from diffuprompt.grounding.detectors.boxes import clipped, decode, nms
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
    """Return the boxes of a phrase in image ``index``.

    Args:
        raw: what the head says.
        index: of the image.
        tokens: positions of the phrase's tokens in the caption; their probabilities are averaged.
        size: height and width, to which boxes are cut.
        plus: see `GlipConfig`.
        min_score: of the phrase's mean probability; the best is kept whatever it is.
    """
    words = raw.words[index][:, tokens].sigmoid().mean(-1)
    kept, start = [], 0
    for count in raw.anchors.counts:
        part = words[start : start + count]
        best = part.topk(min(MAX_PER_LEVEL, count)).indices
        kept.append(best[part[best] > min_score] + start)
        start += count
    chosen = torch.cat(kept)
    if not len(chosen):
        chosen = words.argmax()[None]
    scores = (words[chosen] * raw.centre[index, chosen].sigmoid()).sqrt()
    boxes = decode(raw.code[index, chosen], raw.anchors.boxes[chosen], plus=plus)
    boxes = clipped(boxes, size[0] - plus, size[1] - plus)
    best = nms(boxes, scores, NMS_IOU, plus=plus, most=MAX_BOXES)
    return Detections(boxes=boxes[best], scores=scores[best])
