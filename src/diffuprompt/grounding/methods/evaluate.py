"""What a detector finds under a method."""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.grounding.contract import Batch, Detections, Detector, Method
from diffuprompt.grounding.methods.batches import as_inputs, placed


@torch.inference_mode()
def detected(
    detector: Detector, method: Method, given: Batch, maps: Tensor | None = None
) -> list[Detections]:
    """Return the boxes of each expression of a batch, in its pixels.

    Args:
        detector: frozen.
        method: trained.
        given: the expressions; their boxes and masks are not looked at.
        maps: `Inputs.maps` of the batch.
    """
    batch, tokens = placed(detector, given)
    answer = detector.run(batch.pixels, tokens, method(as_inputs(batch, tokens, maps)))
    size = (batch.pixels.shape[2], batch.pixels.shape[3])
    found = detector.detect(answer, tokens, batch.roots, size)
    return [Detections(boxes=one.boxes.cpu(), scores=one.scores.cpu()) for one in found]
