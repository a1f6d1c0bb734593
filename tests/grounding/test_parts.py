"""Work in parts: what an interruption, damage and another run leave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.grounding.toy_detector import SIDE, ToyExpressions
from torch import Tensor

from diffuprompt.engine import NULL
from diffuprompt.grounding.worlds.part import Part
from diffuprompt.stages.grounding.parts import in_parts


class Work:
    """Squares rows; stops before the row ``broken``."""

    def __init__(self, broken: int = -1) -> None:
        self.broken, self.asked = broken, list[int]()

    def __call__(self, rows: list[int]) -> dict[str, Tensor]:
        if self.broken in rows:
            raise KeyboardInterrupt
        self.asked += rows
        numbers = torch.tensor(rows)
        return {"square": numbers**2, "name": numbers[:, None].repeat(1, 2)}


def parts(work: Work, folder: Path, total: int = 10, save_every_s: float = 0) -> Tensor:
    found = in_parts(
        work, total, batch=3, folder=folder, progress=NULL, label="squares",
        save_every_s=save_every_s,
    )  # fmt: skip
    assert found["name"].shape == (total, 2)
    return found["square"]


WHOLE = torch.arange(10) ** 2


def test_rows_come_in_order_whatever_the_batch(tmp_path: Path) -> None:
    work = Work()
    assert torch.equal(parts(work, tmp_path, save_every_s=60), WHOLE)
    assert work.asked == list(range(10))
    assert not list(tmp_path.iterdir()), "a short work leaves nothing"


def test_an_interrupted_work_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        parts(Work(broken=7), tmp_path)
    work = Work()
    assert torch.equal(parts(work, tmp_path), WHOLE)
    assert work.asked == [6, 7, 8, 9]


def test_from_a_damaged_part_on_all_is_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        parts(Work(broken=9), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    damaged = tmp_path / "000000003.safetensors"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    work = Work()
    assert torch.equal(parts(work, tmp_path), WHOLE)
    assert work.asked == list(range(3, 10))
    assert "computed again" in caplog.text


def test_a_part_behind_a_gap_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        parts(Work(broken=9), tmp_path)
    (tmp_path / "000000000.safetensors").unlink()
    work = Work()
    assert torch.equal(parts(work, tmp_path, save_every_s=60), WHOLE)
    assert work.asked == list(range(10))


def test_rows_of_a_set_are_a_set() -> None:
    whole = ToyExpressions(6)
    part = Part(whole, [4, 1])
    assert len(part) == 2
    assert part[0] == whole[4]
    assert part.has_masks
    assert part.size(1) == whole.size(1)
    found, expected = part.batch([1, 0], SIDE), whole.batch([1, 4], SIDE)
    assert torch.equal(found.pixels, expected.pixels)
    assert torch.equal(found.boxes, expected.boxes)
    assert part.content == Part(whole, (4, 1)).content
    assert len({part.content, Part(whole, [1, 4]).content, Part(whole, [4]).content}) == 3
