"""GLIP's losses (arXiv 2112.03857, section 3.1; reference implementation's weights).

Legend: B image, A anchor, S text token, N boxes of an image, P anchors that stand for a box.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from diffuprompt.grounding.detectors.anchors import assign
from diffuprompt.grounding.detectors.boxes import counted, decode, giou_pairs
from diffuprompt.grounding.detectors.glip import Raw

ALPHA, GAMMA, BOX_WEIGHT = 0.25, 2.0, 2.0


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sigmoid focal loss of each element (arXiv 1708.02002, eq. 5)."""
    plain = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    right = torch.exp(-plain)  # probability of the target
    weight = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return weight * (1 - right) ** GAMMA * plain


def centerness(anchors_N4: Tensor, boxes_N4: Tensor) -> Tensor:
    """Return how central each anchor is in its box, in 0..1 (arXiv 1904.01355, eq. 3)."""
    x, y = ((anchors_N4[:, :2] + anchors_N4[:, 2:]) / 2).unbind(-1)
    left, right = x - boxes_N4[:, 0], boxes_N4[:, 2] - x
    top, bottom = y - boxes_N4[:, 1], boxes_N4[:, 3] - y
    across = torch.minimum(left, right) / torch.maximum(left, right)
    down = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (across.clamp(min=0) * down.clamp(min=0)).sqrt()


def glip_losses(
    raw: Raw,
    mask_BS: Tensor,
    boxes: Sequence[Tensor],
    spans: Sequence[Tensor],
    *,
    plus: float,
) -> dict[str, Tensor]:
    """Return "loss" and its terms.

    Args:
        raw: what the head says.
        mask_BS: True for tokens of the captions.
        boxes: ``(N, 4)`` of each image, exclusive ends.
        spans: ``(N, S)`` of each image, 1 for the tokens that name a box.
        plus: see `GlipConfig`.
    """
    every = raw.anchors.boxes
    boxes = counted(torch.cat([*boxes]), plus).split([len(one) for one in boxes])
    owners_BA = assign(raw.anchors, boxes, plus=plus)
    image_P, anchor_P = (owners_BA >= 0).nonzero(as_tuple=True)
    own_P = owners_BA[image_P, anchor_P]
    words = torch.zeros_like(raw.words)
    words[image_P, anchor_P] = _padded(spans)[image_P, own_P].to(words.dtype)
    count = max(len(image_P), 1)
    token = (focal(raw.words, words) * mask_BS[:, None]).sum() / count
    boxes_P4, anchors_P4 = _padded(boxes)[image_P, own_P], every[anchor_P]
    central = centerness(anchors_P4, boxes_P4)
    found = decode(raw.code[image_P, anchor_P], anchors_P4, plus=plus)
    overlap = giou_pairs(found, boxes_P4)  # GLIP's loss counts no pixel more, its overlaps do
    box = ((1 - overlap) * central).sum() / central.sum().clamp(min=1e-6)
    middle = functional.binary_cross_entropy_with_logits(
        raw.centre[image_P, anchor_P], central, reduction="sum"
    )
    terms = {"words": token, "boxes": BOX_WEIGHT * box, "centre": middle / count}
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Return one tensor of all images' rows; a single step where all have as many."""
    if len({len(one) for one in rows}) == 1:
        return torch.stack([*rows])
    return pad_sequence([*rows], batch_first=True)
