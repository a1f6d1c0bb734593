"""Stages: one key for everything a result depends on, immutable when finished, resumable before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffuprompt.errors import CheckpointError, DataError
from diffuprompt.runs.stage import Stage
from diffuprompt.runs.store import StageFolder, Store, Values

STAGE = Stage(name="learner", version=1, config={"lr": 0.1, "b": [1]}, inputs={"images": "aa"})


def test_every_part_of_a_stage_is_in_its_key() -> None:
    others = [
        replace(STAGE, name="overfit"),
        replace(STAGE, version=2),
        replace(STAGE, config={"lr": 0.2, "b": [1]}),
        replace(STAGE, config={"lr": 0.1, "b": [1], "c": None}),
        replace(STAGE, inputs={"images": "bb"}),
        replace(STAGE, inputs={"backbone": "aa"}),
    ]
    assert len({stage.key for stage in (STAGE, *others)}) == 7
    assert replace(STAGE, config={"b": [1], "lr": 0.1}).key == STAGE.key  # no order of fields
    assert Stage.from_json(json.loads(json.dumps(STAGE.to_json())), "x") == STAGE
    # written into folders on every machine: it must never change
    assert STAGE.key == "4c9212861c87d6b07be8f9c7ef173d5c"


@pytest.mark.parametrize("data", [None, [], {}, {"schema": "diffuprompt.stage/1"}])
def test_what_is_no_stage_is_refused_by_name(data: object) -> None:
    with pytest.raises(DataError, match="here: "):
        Stage.from_json(data, "here")


def make(folder: StageFolder) -> Values:
    """Count how often it was called, in a file beside the store."""
    count = folder.path.parent.parent.parent / "calls"
    count.write_text((count.read_text() if count.exists() else "") + "x")
    (folder.work / "half").parent.mkdir(exist_ok=True)
    (folder.work / "half").write_text("state")
    folder.write("t.safetensors", {"a": torch.arange(3.0)})
    return {"loss": 0.5}


def calls(root: Path) -> int:
    return len((root / "calls").read_text())


def test_a_stage_is_made_once_and_found_by_its_key(tmp_path: Path) -> None:
    first = Store(tmp_path / "s").made(STAGE, make)
    again = Store(tmp_path / "s").made(replace(STAGE), make)
    assert calls(tmp_path) == 1
    assert first.path == again.path == tmp_path / "s" / "learner" / STAGE.key
    assert again.read("t.safetensors")["a"].tolist() == [0, 1, 2]
    assert again.values()["loss"] == 0.5
    assert again.values()["seconds"] >= 0
    assert not first.work.exists()
    Store(tmp_path / "s").made(replace(STAGE, version=2), make)
    assert calls(tmp_path) == 2


def test_an_interrupted_stage_goes_on_with_its_work(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")

    def dies(folder: StageFolder) -> Values:
        folder.work.mkdir(parents=True)
        (folder.work / "half").write_text("state")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.made(STAGE, dies)
    assert not store.folder(STAGE).is_finished

    def resumes(folder: StageFolder) -> Values:
        assert (folder.work / "half").read_text() == "state"
        return make(folder)

    assert store.made(STAGE, resumes).is_finished


def test_what_is_forgotten_is_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.made(STAGE, make)
    store.forget(STAGE)
    assert not store.folder(STAGE).is_finished
    store.made(STAGE, make)
    assert calls(tmp_path) == 2
    store.forget(replace(STAGE, version=9))  # never made: nothing to do


@pytest.mark.parametrize("damage", ["bit", "gone"])
def test_a_finished_file_is_the_one_that_was_written(tmp_path: Path, damage: str) -> None:
    folder = Store(tmp_path / "s").made(STAGE, make)
    path = folder.path / "t.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    if damage == "bit":
        path.write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{STAGE.key}, and it is made again"):
        folder.read("t.safetensors")
