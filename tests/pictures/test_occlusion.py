"""Occlusion of a score that is known to come from one place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffuprompt.pictures import occlusion as module
from diffuprompt.pictures.occlusion import occlusion

SIDE, CELLS = 10, 4  # cells of 2 and 3 pixels


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("at", [(0, 0), (1, 2), (3, 1)])
def test_a_cells_value_is_the_mean_fall_over_the_squares_that_hide_it(
    window: int, at: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = [i * SIDE // CELLS for i in range(CELLS + 1)]
    weight = torch.zeros(3, SIDE, SIDE)
    weight[:, edges[at[0]] : edges[at[0] + 1], edges[at[1]] : edges[at[1] + 1]] = 1.5
    pixels = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def scores(pixels_N3HW: Tensor) -> Tensor:
        total = (pixels_N3HW * weight).flatten(1).sum(1)
        return torch.stack([total, 2 - total], dim=1)

    found = occlusion(scores, pixels, cells=CELLS, window=window)
    places = range(CELLS - window + 1)
    expected = torch.zeros(CELLS, CELLS)
    for row in range(CELLS):
        for column in range(CELLS):
            hides = [
                i <= at[0] < i + window and j <= at[1] < j + window
                for i in places
                for j in places
                if i <= row < i + window and j <= column < j + window
            ]
            expected[row, column] = sum(hides) / len(hides)
    expected *= (pixels * weight).sum()
    torch.testing.assert_close(found, torch.stack([expected, -expected]))
    assert float(found[0].max()) == pytest.approx(float(found[0][at]))
    monkeypatch.setattr(module, "BATCH", 2)
    assert torch.equal(occlusion(scores, pixels, cells=CELLS, window=window), found)
