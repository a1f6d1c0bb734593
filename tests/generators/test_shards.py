"""What overfitting has finished is found again, however it was cut off and cut up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tests.generators.toy import Counting, problem_of, softmax_problem

from diffuprompt.engine.files import read_tensors, write_tensors
from diffuprompt.errors import CheckpointError
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.overfitting import overfit
from diffuprompt.generators.shards import Shards
from diffuprompt.runs import write_sealed

LISTS = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 3]])


def same(a, b):
    assert torch.equal(a.prompts, b.prompts)
    assert torch.equal(a.ce, b.ce)


@pytest.mark.parametrize("lists", [None, LISTS])
def test_an_interrupted_run_continues_behind_its_batches(tmp_path, lists):
    problem = problem_of(softmax_problem(10), lists)
    config = OverfitConfig(steps=4, lr=0.3, batch=3)
    store = {"folder": tmp_path, "key": "k", "save_every_s": 0.0}
    whole = overfit(problem, config, keep=(2,), **store)
    shards = sorted(tmp_path.glob("0*.safetensors"))
    assert len(shards) == 4
    lost = []
    for shard in (shards[1], shards[3]):
        lost.append(read_tensors(shard)[0]["index"].tolist())
        shard.unlink()
    counting = Counting(problem.logits)
    watched = dataclasses.replace(problem, logits=counting)
    again = overfit(watched, config, keep=(2,), **store)
    assert counting.asked == [lost[0]] * 5 + [lost[1]] * 5
    same(again, whole)
    assert torch.equal(again.iterates[2], whole.iterates[2])
    assert sorted(tmp_path.glob("0*.safetensors")) == shards
    same(overfit(problem, config), whole)


def test_an_interruption_leaves_finished_batches_in_one_file(tmp_path):
    logits, initial, labels = softmax_problem(9)
    config = OverfitConfig(steps=2, lr=0.3, batch=3)

    def broken(flat, index):
        if int(index[0]) == 6:
            raise KeyboardInterrupt
        return logits(flat, index)

    with pytest.raises(KeyboardInterrupt):
        overfit(problem_of((broken, initial, labels)), config, folder=tmp_path, key="k")
    (shard,) = tmp_path.glob("0*.safetensors")  # far less than half a minute of work
    assert read_tensors(shard)[0]["index"].tolist() == [0, 1, 2, 3, 4, 5]
    problem = problem_of((logits, initial, labels))
    counting = Counting(problem.logits)
    watched = dataclasses.replace(problem, logits=counting)
    result = overfit(watched, config, folder=tmp_path, key="k")
    assert {i for index in counting.asked for i in index} == {6, 7, 8}
    same(result, overfit(problem, config))


def test_another_batch_size_takes_what_is_there(tmp_path):
    """As under another memory budget: batches no longer end where files do."""
    problem = problem_of(softmax_problem(10))
    config = OverfitConfig(steps=2, lr=0.3, batch=3)
    store = {"folder": tmp_path, "key": "k", "save_every_s": 0.0}
    overfit(problem, config, **store)
    shards = sorted(tmp_path.glob("0*.safetensors"))
    shards[1].unlink()
    counting = Counting(problem.logits)
    watched = dataclasses.replace(problem, logits=counting)
    result = overfit(watched, dataclasses.replace(config, batch=4), **store)
    assert counting.asked == [[3]] * 3 + [[4, 5]] * 3
    torch.testing.assert_close(result.prompts, overfit(problem, config).prompts, rtol=0, atol=1e-12)


def test_a_file_holds_the_batches_of_a_stretch_of_time(tmp_path, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    shards = Shards(tmp_path, "k", {"x": (1,)}, every_s=3.0)
    for start in range(0, 16, 2):
        shards.add({"index": torch.arange(start, start + 2), "x": torch.zeros(2, 1)})
    shards.flush()
    shards.flush()
    assert [part["index"].tolist() for part in shards.read()] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10, 11],
        [12, 13, 14, 15],
    ]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    half = tmp_path / ".00000000.safetensors.0a0a.part"
    half.write_bytes(b"half")
    problem, config = problem_of(softmax_problem()), OverfitConfig(steps=1, lr=0.3)
    overfit(problem, config, folder=tmp_path, key="k")
    assert not half.exists()


def test_another_key_is_refused(tmp_path):
    problem, config = problem_of(softmax_problem()), OverfitConfig(steps=1, lr=0.3)
    overfit(problem, config, folder=tmp_path, key="first")
    with pytest.raises(CheckpointError, match=r"key 'first', expected 'second'.*delete the folder"):
        overfit(problem, config, folder=tmp_path, key="second")


def test_a_foreign_file_is_refused(tmp_path):
    problem, config = problem_of(softmax_problem()), OverfitConfig(steps=1, lr=0.3)
    store = {"folder": tmp_path, "key": "k"}
    overfit(problem, config, **store)
    (shard,) = tmp_path.glob("0*.safetensors")
    with pytest.raises(CheckpointError, match=r"expected .*'prompts': \(7, 6\)"):
        overfit(problem_of(softmax_problem(width=6)), config, **store)
    with pytest.raises(CheckpointError, match=r"images 0 to 3, got image 6"):
        overfit(problem_of(softmax_problem(4)), config, **store)
    write_sealed(shard, {"other": torch.zeros(7)}, {"key": "k"})
    with pytest.raises(CheckpointError, match=r"expected tensors .*got \{'other': \(7,\)\}"):
        overfit(problem, config, **store)


@pytest.mark.parametrize("place", [9, 90, 0.4, 0.99, "cut", "no seal"])
@pytest.mark.parametrize("name", ["00000003.safetensors", "calibration.safetensors"])
def test_one_flipped_bit_in_a_kept_file_is_computed_again(tmp_path, caplog, place, name):
    """Positions from 1 on are bytes of the header, shares are of the numbers behind it."""
    problem, config = problem_of(softmax_problem()), OverfitConfig(steps=2, batch=3)
    store = {"folder": tmp_path, "key": "k", "save_every_s": 0.0}
    whole = overfit(problem, config, **store)
    file, counting = tmp_path / name, Counting(problem.logits)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    data = bytearray(file.read_bytes())
    if place == "cut":
        data = data[:-7]
    elif place == "empty":
        data = bytearray()
    elif place == "no seal":  # as earlier versions wrote them
        write_tensors(file, read_tensors(file)[0], {"key": "k"})
        data = bytearray(file.read_bytes())
    else:
        head = 8 + int.from_bytes(data[:8], "little")
        data[place if isinstance(place, int) else head + int(place * (len(data) - head))] ^= 1
    file.write_bytes(data)
    again = overfit(dataclasses.replace(problem, logits=counting), config, **store)
    same(again, whole)
    assert again.lr == whole.lr
    assert str(file) in caplog.text
    assert "computed again" in caplog.text
    assert counting.asked
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_progress_counts_images_that_are_left(tmp_path: Path):
    problem = problem_of(softmax_problem())
    seen: list[tuple[int, list[str]]] = []
    tasks: list[tuple[str, int]] = []

    class Task:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self, count, **values):
            seen.append((count, sorted(values)))

    class Progress:
        def task(self, label, total):
            tasks.append((label, total))
            return Task()

    store = {"folder": tmp_path, "key": "k", "save_every_s": 0.0, "progress": Progress()}
    config = OverfitConfig(steps=1, lr=1, batch=3)
    overfit(problem, config, **store)
    assert tasks == [("overfitting", 7)]
    assert seen == [(3, ["ce"]), (3, ["ce"]), (1, ["ce"])]
    (tmp_path / "00000006.safetensors").unlink()
    overfit(problem, config, **store)
    overfit(problem, config, **store)  # nothing is left, so nothing is shown
    assert tasks[1:] == [("overfitting (6 done before)", 1)]
