"""Files are whole or refused; states are plain and come back equal."""

import errno
import json
import os
import resource
import signal
import stat

import pytest
import torch
from torch import nn

from diffuprompt.engine import files
from diffuprompt.errors import CheckpointError, DataError, StorageError
from diffuprompt.reading import read_json

STATE = {
    "step": 3,
    "lr": 0.5,
    "name": "ctx",
    "done": False,
    "nothing": None,
    "nested": {0: [torch.arange(4), {"x": torch.ones(2, 2, dtype=torch.bfloat16)}]},
}


def test_state_round_trip(tmp_path):
    files.save_state(tmp_path / "deep" / "state.pt", STATE)
    back = files.load_state(tmp_path / "deep" / "state.pt")
    tensors = back["nested"][0]
    assert torch.equal(tensors[0], torch.arange(4))
    assert tensors[1]["x"].dtype == torch.bfloat16
    assert {k: back[k] for k in back if k != "nested"} == {
        k: STATE[k] for k in STATE if k != "nested"
    }


def test_state_is_made_plain(tmp_path):
    base = torch.arange(100_000.0)
    state = {"view": base[:2], "parameter": nn.Parameter(torch.ones(1)), "pair": (1, 2)}
    files.save_state(tmp_path / "s.pt", state)
    back = files.load_state(tmp_path / "s.pt")
    assert type(back["parameter"]) is torch.Tensor
    assert not back["parameter"].requires_grad
    assert back["pair"] == [1, 2]
    assert (tmp_path / "s.pt").stat().st_size < 10_000  # the view's base would take 400,000 bytes


def test_other_objects_are_refused_by_place(tmp_path):
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\].*object"):
        files.save_state(tmp_path / "s.pt", {"a": [1, object()]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "text", "pickle"])
def test_damaged_state_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "state.pt"
    weights = torch.arange(1000.0)
    files.save_state(path, {"weights": weights})
    data = bytearray(path.read_bytes())
    if damage == "empty":
        data = bytearray()
    elif damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flip":
        data[data.index(weights.numpy().tobytes()) + 2001] ^= 1  # one bit of one weight
    elif damage == "text":
        data = bytearray(b"hello")
    else:
        torch.save(nn.Linear(1, 1), path)  # a whole module needs code to be read
        data = bytearray(path.read_bytes())
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        files.load_state(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pt: no such file"):
        files.load_state(tmp_path / "gone.pt")
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: no such file"):
        files.read_tensors(tmp_path / "gone.safetensors")


def test_tensors_round_trip(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {
        "a": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).T,
        "b": torch.ones(1),
    }
    tensors["c"] = tensors["b"]  # shared storage is written twice, not refused
    files.write_tensors(path, tensors, {"spec": "1"})
    back, metadata = files.read_tensors(path)
    assert metadata == {"spec": "1"}
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        files.read_tensors(path)


def test_json(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"é": [1, 2.5, None]})
    assert read_json(path) == {"é": [1, 2.5, None]} == json.loads(path.read_text())
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(path, {"a": float("nan")})
    path.write_text('{"a": 1,\n oops}')
    with pytest.raises(DataError, match=r"x\.json.*line 2"):
        read_json(path, error=DataError)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    files.write_text(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StorageError, match="disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_files_get_the_usual_permissions(tmp_path):
    files.write_text(tmp_path / "ours", "x")
    (tmp_path / "usual").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "usual")}
    assert len(modes) == 1


def test_remove_parts_takes_only_leftovers_of_that_file(tmp_path):
    for name in (".state.pt.ab12.part", ".other.pt.ab12.part", "state.pt"):
        (tmp_path / name).touch()
    files.remove_parts(tmp_path / "state.pt")
    assert {p.name for p in tmp_path.iterdir()} == {".other.pt.ab12.part", "state.pt"}


def test_values_that_are_no_numbers_are_refused_by_file_and_tensor(tmp_path):
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, {"good": torch.ones(3), "bad": torch.tensor([1, float("nan")])})
    with pytest.raises(CheckpointError, match=r"x\.safetensors.*\n.*bad: 1 of 2 values are NaN"):
        files.read_tensors(path)


FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]
CLOSED = [errno.EROFS, errno.EACCES, errno.EPERM]


@pytest.mark.parametrize("code", [*FULL, *CLOSED, errno.EIO])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_takes_no_more_is_named_and_the_old_file_stays(
    tmp_path, monkeypatch, code, step
):
    path = tmp_path / "folder" / "state.json"
    files.write_text(path, "old")

    def fail(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StorageError) as caught:
        files.write_text(path, "new" * 1000)
    said = str(caught.value)
    assert said.startswith(f"{path}: cannot be written: {os.strerror(code)}")
    assert "3000 bytes to write" in said
    assert "free" in said
    assert (("DIFFUPROMPT_CACHE" in said) and ("same command" in said)) == (code in FULL)
    assert ("writable" in said) == (code in CLOSED)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: files.write_json(path, {"a": "b" * 10**6}),
        lambda path: files.write_tensors(path, {"a": torch.zeros(10**6)}),
        lambda path: files.save_state(path, {"a": torch.zeros(10**6)}),
        lambda path: files.write_text(path, "c" * 10**6),
    ],
)
def test_every_writer_meets_a_real_limit(tmp_path, write):
    """The system's own limit on files stands for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(StorageError, match=r"file\.x: cannot be written.*make room"):
            write(tmp_path / "file.x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/x", "file/deep/x", "folder", "n" * 300, "n" * 300 + "/x"])
def test_a_place_that_cannot_be_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError) as caught:
        files.write_text(tmp_path / place, "text")
    assert str(tmp_path / place) in str(caught.value)
    assert "shorter" in str(caught.value) or "a folder is needed" in str(caught.value)


def test_metrics_on_a_full_disk_are_named(tmp_path):
    from diffuprompt.engine.metrics import MetricsFile

    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path, keep=0)
    metrics._file.close()
    metrics._file = open("/dev/full", "w")
    metrics.write(0, loss=1.0)
    with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot be written"):
        metrics.flush()
