"""What a DETR says about its queries: answers, losses and boxes.

Legend: B image, Q query, S text token, C channels, K tokens of a phrase.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.contract import Detections

MAX_BOXES = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryAnswer:
    """What is said about every query.

    Attributes:
        words: ``(B, Q, S)`` logits of each token of the caption.
        boxes: ``(B, Q, 4)`` centre, width and height in 0..1.
        cells: ``(B, Q, C)``, what the dot product reads of the picture.
        language: ``(B, S, C)``, what it reads of the caption, after the fusion.
        first_words: logits ``(B, Q, S)`` of the encoder's cells that became queries.
        first_boxes: their boxes.
        size: height and width of the pictures.
    """

    words: Tensor
    boxes: Tensor
    cells: Tensor
    language: Tensor
    first_words: Tensor
    first_boxes: Tensor
    size: tuple[int, int]


def query_losses(
    answer: QueryAnswer, mask_BS: Tensor, rows_BS: Tensor, boxes_B4: Tensor, config: Any
) -> dict[str, Tensor]:
    """Return "loss" and its unweighted terms, of the queries and of the encoder's cells.

    The encoder's are computed from the cells that became queries, as in mmdetection; transformers
    computes them from the queries' embeddings, which no visual prompt can change. Intermediate
    layers of the decoder have no loss.

    Args:
        answer: what is said.
        mask_BS: True for tokens of the captions.
        rows_BS: 1 for the tokens of each image's phrase.
        boxes_B4: its box in pixels, exclusive ends.
        config: of transformers, for the weights.

    Raises:
        ConfigError: scipy is not installed, which the matching needs.
    """
    from transformers.loss.loss_grounding_dino import GroundingDinoForObjectDetectionLoss

    height, width = answer.size
    middle, sides = (boxes_B4[:, :2] + boxes_B4[:, 2:]) / 2, boxes_B4[:, 2:] - boxes_B4[:, :2]
    scale = boxes_B4.new_tensor((width, height, width, height))
    truth = torch.cat([middle, sides], 1) / scale
    labels = [
        {"class_labels": torch.tensor([i], device=truth.device), "boxes": truth[i : i + 1]}
        for i in range(len(truth))
    ]
    config = copy(config)
    config.auxiliary_loss = False
    try:
        loss, terms, _ = GroundingDinoForObjectDetectionLoss(
            answer.words,
            labels,
            answer.words.device,
            answer.boxes,
            config,
            # every image has the rows of all: transformers counts the rows before an image
            # wrongly from the third image on, which this makes harmless
            label_maps=(rows_BS,) * len(rows_BS),
            text_mask=mask_BS[:, None].expand_as(answer.words),
            encoder_logits=answer.first_words,
            encoder_pred_boxes=answer.first_boxes,
        )
    except ImportError as error:
        raise ConfigError("the loss of MM-Grounding-DINO needs scipy; pip install scipy") from error
    return {"loss": loss, **{k: v for k, v in terms.items() if k.startswith("loss_")}}


@torch.inference_mode()
def query_boxes(words_QK: Tensor, boxes_Q4: Tensor, size: tuple[int, int]) -> Detections:
    """Return the best 100 boxes of a phrase by the mean probability of its tokens.

    Args:
        words_QK: logits of the phrase's tokens.
        boxes_Q4: centre, width and height in 0..1.
        size: height and width in pixels.
    """
    scores, order = words_QK.sigmoid().mean(-1).sort(descending=True, stable=True)
    middle, sides = boxes_Q4[order[:MAX_BOXES]].chunk(2, -1)
    scale = boxes_Q4.new_tensor((size[1], size[0], size[1], size[0]))
    corners = torch.cat([middle - sides / 2, middle + sides / 2], -1).clamp(0, 1)
    return Detections(boxes=corners * scale, scores=scores[:MAX_BOXES])
