"""What must be true of every picture of every made world."""

from __future__ import annotations

import numpy as np

from diffuprompt.grounding.worlds.picture import Picture


def check_truth(picture: Picture) -> None:
    """Boxes are tight around masks, visible parts are disjoint, expressions are about others."""
    assert picture.image.mode == "RGB"
    assert picture.masks.shape[1:] == picture.image.size[::-1]
    assert len(picture.masks) == len(picture.boxes) == len(picture.words)
    assert picture.masks.sum(0).max() <= 1
    for mask, box in zip(picture.masks, picture.boxes, strict=True):
        rows, columns = np.nonzero(mask)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == tight
    targets = [one.target for one in picture.references]
    assert len(set(targets)) == len(targets)
    for one in picture.references:
        start, end = one.root
        assert one.text.startswith(f"the {one.text[start:end]}")
