"""Where in a picture a score comes from: by how much it falls where a part is hidden.

Occlusion (Zeiler and Fergus 2014, ECCV), not attention roll-out: it asks the whole model, so it
holds for every learner (adapters, caches, towers with a convolutional stem) and its unit is the
logit's; attention says where a tower looks, not what the answer rests on.

Legend: N hidden part, K score, G cells along a side.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Scores = Callable[[Tensor], Tensor]  # pixels (N, 3, H, W) to scores (N, K)

CELLS, WINDOW, BATCH = 7, 2, 25


def occlusion(
    scores: Scores, pixels_3HW: Tensor, *, cells: int = CELLS, window: int = WINDOW
) -> Tensor:
    """Return how much hiding each cell takes from each score, ``(K, G, G)``.

    The picture is cut into ``cells`` times ``cells`` cells. Squares of ``window`` times ``window``
    cells, at every place, are filled with the mean colour of preprocessing (zeros); a cell's value
    is the mean fall of the score over the squares that hide it. Negative: hiding it helps.

    Args:
        scores: of pictures; a picture's scores must not depend on the others in its batch.
        pixels_3HW: one preprocessed picture.
        cells: G, at most the pixels of a side.
        window: at most G.
    """
    height, width = pixels_3HW.shape[1:]
    places = range(cells - window + 1)
    hidden = [_edges(i, j, window, cells, height, width) for i in places for j in places]
    whole_K = scores(pixels_3HW[None])[0]
    fallen, falls = whole_K.new_zeros(len(whole_K), cells, cells), []
    for start in range(0, len(hidden), BATCH):
        part = hidden[start : start + BATCH]
        pixels = pixels_3HW.repeat(len(part), 1, 1, 1)
        for n, (top, bottom, left, right) in enumerate(part):
            pixels[n, :, top:bottom, left:right] = 0
        falls.append(whole_K - scores(pixels))
    count = torch.zeros_like(fallen)
    every = iter(torch.cat(falls))
    for i in places:
        for j in places:
            fallen[:, i : i + window, j : j + window] += next(every)[:, None, None]
            count[:, i : i + window, j : j + window] += 1
    return fallen / count


def _edges(
    i: int, j: int, window: int, cells: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of one square, in pixels."""
    rows = (i * height // cells, (i + window) * height // cells)
    return (*rows, j * width // cells, (j + window) * width // cells)
