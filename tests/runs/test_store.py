"""Stages: one key for everything a result depends on, immutable when finished, resumable before."""

from __future__ import annotations

import json
from collections.abc import Iterator
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


def test_what_a_killed_finish_left_behind_is_cleared_away(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    folder = store.made(STAGE, make)
    folder.work.mkdir()  # as after a kill between done.json and the end of the work folder
    (folder.work / "half").write_text("state")
    assert store.made(STAGE, make).values() == folder.values()
    assert calls(tmp_path) == 1
    assert not folder.work.exists()


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


def bits(data: bytes) -> Iterator[bytes]:
    """Yield ``data`` with one bit flipped, at many places."""
    for place in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 7
        yield bytes(flipped)


def test_what_was_measured_is_what_was_written(tmp_path: Path) -> None:
    """A step size with one other digit would be another training."""
    folder = Store(tmp_path / "s").made(STAGE, make)
    file, before = folder.path / "done.json", folder.values()
    data, unseen = file.read_bytes(), []
    for flipped in bits(data):
        file.write_bytes(flipped)
        try:
            values = folder.values()
        except CheckpointError as error:
            assert str(file) in str(error)  # noqa: PT017
            continue
        if values != before:
            unseen.append(flipped)
    assert not unseen
    file.write_bytes(data)
    assert folder.values() == before


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "null", "{}", "[" * 100_000, '{"schema": "diffuprompt.done/1"}',
        '{"schema": "diffuprompt.done/2", "values": {}, "files": {}}',
        '{"schema": "diffuprompt.done/1", "values": [], "files": {}}',
        '{"schema": "diffuprompt.done/1", "values": {"a": "b"}, "files": {}}',
        '{"schema": "diffuprompt.done/1", "values": {"a": null}, "files": {}}',
        '{"schema": "diffuprompt.done/1", "values": {}, "files": 3}',
        '{"schema": "diffuprompt.done/1", "values": {"a": 1' + "0" * 400 + '}, "files": {}}',
    ],
)  # fmt: skip
def test_a_done_file_of_any_other_kind_is_refused_by_name(tmp_path: Path, content: str) -> None:
    folder = Store(tmp_path / "s").made(STAGE, make)
    (folder.path / "done.json").write_text(content)
    for read in (folder.values, lambda: folder.read("t.safetensors")):
        with pytest.raises(CheckpointError, match=str(folder.path / "done.json")):
            read()


def test_a_done_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    folder = Store(tmp_path / "s").made(STAGE, make)
    file = folder.path / "done.json"
    data = json.loads(file.read_text())
    del data["checksum"]
    file.write_text(json.dumps({**data, "schema": "diffuprompt.done/1"}))
    assert folder.values()["loss"] == 0.5
    assert folder.read("t.safetensors")["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["..", "../..", "/", "", ".", "a/b", "a\\b", "a b", "\x00", "A"])
def test_a_stage_cannot_be_called_as_to_leave_the_store(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store = Store(tmp_path / "s")
    for action in (store.folder, store.forget, lambda stage: store.made(stage, make)):
        with pytest.raises(DataError, match="no name of a stage"):
            action(replace(STAGE, name=name))
    assert outside.is_dir()
    assert not (tmp_path / "s").exists()


def test_forgetting_deletes_nothing_outside_the_store(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "done.json").write_text("{}")
    (treasure / "photo.jpg").write_text("x")
    store = Store(tmp_path / "s")
    folder = store.made(STAGE, make)
    (folder.path / "linked").symlink_to(treasure, target_is_directory=True)
    (folder.path / "file").symlink_to(treasure / "photo.jpg")
    store.forget(STAGE)
    assert sorted(path.name for path in folder.path.iterdir()) in ([".lock"], [])
    other = replace(STAGE, version=5)
    (tmp_path / "s" / "learner" / other.key).symlink_to(treasure, target_is_directory=True)
    with pytest.raises(DataError, match="remove the link"):
        store.forget(other)
    assert sorted(path.name for path in treasure.iterdir()) == ["done.json", "photo.jpg"]


def test_a_store_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "s").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert Store(tmp_path / "s").made(STAGE, make).is_finished
