"""What a frozen detector saw of training objects: the memory of Tip-Adapter and Meta-Adapter.

Legend: N shots, A cells of a picture, C width of a cell, D width of a token, B expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.contract import Answer, Batch, Context, Detector
from diffuprompt.grounding.methods.batches import placed


@dataclass(frozen=True, kw_only=True, eq=False)
class Shots:
    """One cell and one phrase of each training expression.

    Attributes:
        cells: ``(N, C)``, of those inside the true box the one most like the phrase.
        texts: ``(N, D)``, mean feature of the root phrase's tokens.
    """

    cells: Tensor
    texts: Tensor


@torch.no_grad()
def training_shots(detector: Detector, batches: Callable[[], Iterable[Batch]], size: int) -> Shots:
    """Return the shots of the first ``size`` training expressions, or of all where fewer.

    Raises:
        ConfigError: the detector answers for queries, not for the cells of its pyramid.
        DataError: there are no expressions.
    """
    cells: list[Tensor] = []
    texts: list[Tensor] = []
    for given in batches():
        batch, tokens = placed(detector, given)
        answer = detector.run(batch.pixels, tokens)
        centres = _centres(detector.context(batch.pixels, tokens), batch.pixels, answer)
        for i, root in enumerate(batch.roots):
            words = tokens.of_span(i, root)
            inside = _inside(centres, batch.boxes[i])
            likeness = answer.words[i][:, words].mean(-1).masked_fill(~inside, -torch.inf)
            cells.append(answer.cells[i, likeness.argmax()])
            texts.append(answer.language[i, words].mean(0))
            if len(cells) == size:
                return Shots(cells=torch.stack(cells), texts=torch.stack(texts))
    if not cells:
        raise DataError("there are no training expressions to remember")
    return Shots(cells=torch.stack(cells), texts=torch.stack(texts))


def _centres(context: Context, pixels_BCHW: Tensor, answer: Answer) -> Tensor:
    """Return x and y of all cells' centres in pixels ``(A, 2)``."""
    height, width = pixels_BCHW.shape[-2:]
    found = []
    for level in context.levels:
        rows, columns = level.shape[-2:]
        y = (torch.arange(rows, device=level.device) + 0.5) * (height / rows)
        x = (torch.arange(columns, device=level.device) + 0.5) * (width / columns)
        both = torch.meshgrid(y, x, indexing="ij")
        found.append(torch.stack([both[1], both[0]], -1).reshape(-1, 2))
    centres = torch.cat(found)
    if len(centres) != answer.cells.shape[1]:
        raise ConfigError(
            f"a memory of cells needs a detector that answers for each cell of its pyramid: "
            f"expected {len(centres)} answers, got {answer.cells.shape[1]}"
        )
    return centres


def _inside(centres_A2: Tensor, box_4: Tensor) -> Tensor:
    """Return which cells have their centre in a box, the nearest where none has."""
    low, high = box_4[:2], box_4[2:]
    inside = ((centres_A2 >= low) & (centres_A2 <= high)).all(-1)
    if not inside.any():
        inside[(centres_A2 - (low + high) / 2).square().sum(-1).argmin()] = True
    return inside
