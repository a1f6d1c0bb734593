"""What a batch of expressions about picture files holds, and what its content depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.grounding import layouts

from diffuprompt.errors import DataError
from diffuprompt.grounding.expressions import Expressions
from diffuprompt.grounding.worlds.filed import FiledExpressions
from diffuprompt.grounding.worlds.opening import open_expressions
from diffuprompt.grounding.worlds.roots import whole_caption


def opened(file: Path) -> FiledExpressions:
    return open_expressions(file, "all", roots=whole_caption)


@pytest.fixture
def three(tmp_path: Path) -> FiledExpressions:
    return opened(layouts.user_file(tmp_path))


def test_a_batch_of_two_is_two_batches_of_one(three: FiledExpressions) -> None:
    as_contract: Expressions = three
    both = as_contract.batch([2, 0], 8)
    for i, row in enumerate([2, 0]):
        one = as_contract.batch([row], 8)
        assert both.texts[i : i + 1] == one.texts == (three[row].text,)
        assert both.roots[i : i + 1] == one.roots == (three[row].root,)
        assert both.masks is not None
        assert one.masks is not None
        for many, single in ((both.pixels, one.pixels), (both.boxes, one.boxes)):
            assert torch.equal(many[i : i + 1], single)
        assert torch.equal(both.masks[i : i + 1], one.masks)


def test_sizes(three: FiledExpressions) -> None:
    batch = three.batch([0, 0, 1], 16)
    assert batch.masks is not None
    assert (batch.pixels.shape, batch.masks.shape) == ((3, 3, 16, 16), (3, 16, 16))
    assert batch.boxes.dtype == batch.pixels.dtype == batch.masks.dtype == torch.float32
    # 20 x 10 pixels become 16 x 16: x shrinks to four fifths, y grows by three fifths
    expected = torch.tensor([2 * 0.8, 1 * 1.6, 8 * 0.8, 7 * 1.6])
    assert torch.allclose(batch.boxes, expected.expand(3, 4))
    assert 0 <= batch.pixels.min() < 0.2
    assert 0.8 < batch.pixels.max() <= 1


def test_pictures_boxes_and_masks_move_together(tmp_path: Path) -> None:
    """The picture is black and its object white: the picture is its own mask."""
    file = layouts.user_file(tmp_path, layouts.user_data(1))
    pixels = np.zeros((layouts.HEIGHT, layouts.WIDTH, 3), np.uint8)
    pixels[1:7, 2:8] = 255
    Image.fromarray(pixels).save(tmp_path / "1.png")
    for side in (10, 20, 40):
        batch = opened(file).batch([0], side)
        assert batch.masks is not None
        assert torch.allclose(batch.pixels[:, 0], batch.masks)
        x0, y0, x1, y1 = batch.boxes[0]
        area = (x1 - x0) * (y1 - y0)
        assert batch.masks.sum() == pytest.approx(float(area), rel=0.05)


def test_half_a_picture_is_half_white(tmp_path: Path) -> None:
    """Bilinear weights, by hand: two pixels become one."""
    file = layouts.user_file(tmp_path, layouts.user_data(1))
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, 10:] = 255
    Image.fromarray(pixels).save(tmp_path / "1.png")
    (row,) = opened(file).batch([0], 1).pixels[0, 0]
    assert row.item() == pytest.approx(0.5, abs=1 / 255)


def test_without_masks(tmp_path: Path) -> None:
    data = layouts.user_data()
    for row in data["annotations"]:
        del row["segmentation"]
    found = opened(layouts.user_file(tmp_path, data))
    assert not found.has_masks
    assert found.batch([0], 4).masks is None


def change_text(data: dict[str, Any], _folder: Path) -> None:
    data["annotations"][1]["caption"] = "The red cup number two."


def change_root(data: dict[str, Any], _folder: Path) -> None:
    data["annotations"][1]["root"] = "cup"


def change_box(data: dict[str, Any], _folder: Path) -> None:
    data["annotations"][1]["bbox"][0] = 2.25


def change_mask(data: dict[str, Any], _folder: Path) -> None:
    data["annotations"][1]["segmentation"] = [[*layouts.POLYGON[:-1], 6.5]]


def change_order(data: dict[str, Any], _folder: Path) -> None:
    data["annotations"].reverse()


def change_pixels(_data: dict[str, Any], folder: Path) -> None:
    layouts.picture(folder / "2.png", seed=99)


@pytest.mark.parametrize(
    "change", [change_text, change_root, change_box, change_mask, change_order, change_pixels]
)
def test_content_knows(change: Any, tmp_path: Path) -> None:
    data = layouts.user_data()
    file = layouts.user_file(tmp_path, data)
    before = opened(file)
    assert before.content == opened(file).content == opened(file).content
    first = before.content
    change(data, tmp_path)
    layouts.written(file, data)
    assert opened(file).content != first


def test_content_does_not_know_where_pictures_are(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b/c"
    assert opened(layouts.user_file(here)).content == opened(layouts.user_file(there)).content


def test_pictures_that_change_are_refused(tmp_path: Path) -> None:
    found = opened(layouts.user_file(tmp_path))
    Image.new("RGB", (10, 20)).save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"1\.png: 10 x 20 pixels, and it had 20 x 10"):
        found.batch([0], 4)
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png"):
        found.batch([1], 4)
    with pytest.raises(DataError, match=r"2\.png: cannot be read"):
        found.content  # noqa: B018
