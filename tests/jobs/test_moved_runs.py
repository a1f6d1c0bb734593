"""What `evaluate` says of folders that are no runs, and of runs whose pictures have moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.world import command, make_pictures

from diffuprompt.record import read_record


@pytest.fixture
def run(world: Path, tmp_path: Path) -> Path:
    """A trained run of pictures in ``tmp_path/colours``."""
    shutil.copytree(world / "colours", tmp_path / "colours")
    words = [
        *("train", "--data", tmp_path / "colours", "--backbone", world / "clip"),
        *("--shots", "2", "--protocol", "base-to-new", "--device", "cpu", "--workers", "0"),
        *("--set", "epochs=1", "--out", tmp_path / "runs" / "run"),
    ]
    assert command(*words).code == 0
    return tmp_path / "runs" / "run"


def test_what_is_no_run_is_told_what_it_is(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder" / "run.json").mkdir(parents=True)
    for path, said in (
        (tmp_path / "nowhere", "there is no such folder"),
        (tmp_path / "empty", "no run.json"),
        (tmp_path / "file", "it is a file"),
        (tmp_path / "folder", "no run.json"),
        (run / "artifact", "no run.json: an artifact, which can predict"),
        (run.parent, "no run.json, but there are runs in it: run"),
    ):
        done = command("evaluate", path)
        assert done.code == 3
        assert f"{path}: not a run folder ({said}" in done.err


@pytest.mark.parametrize("place", ["file", "file/run", "folder/run"])
def test_a_run_that_has_no_place_is_told_by_name(
    run: Path, world: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".stages").write_text("x")
    words = ["--data", tmp_path / "colours", "--backbone", world / "clip", "--shots", "2"]
    words += ["--device", "cpu", "--workers", "0", "--set", "epochs=1"]
    done = command("train", *words, "--out", tmp_path / place)
    assert done.code == 3
    assert str(tmp_path / place.partition("/")[0]) in done.err
    assert "--runs-dir" in done.err


@pytest.mark.parametrize("setting", ["a\nb", "\x1b[2J", " ", "x" * 2000])
def test_a_name_that_no_record_can_hold_is_refused_before_anything_is_trained(
    run: Path, world: Path, tmp_path: Path, setting: str
) -> None:
    words = ["--data", tmp_path / "colours", "--backbone", world / "clip", "--shots", "2"]
    done = command("train", *words, "--setting", setting, "--out", tmp_path / "named")
    assert done.code == 2
    assert "setting: " in done.err
    assert not (tmp_path / "named").exists()


def test_pictures_that_have_moved_are_found_by_data_root(run: Path, tmp_path: Path) -> None:
    assert command("evaluate", run).code == 0
    before = read_record(run / "record.json")
    (run / "record.json").unlink()
    (tmp_path / "colours").rename(tmp_path / "colours-of-today")
    done = command("evaluate", run)
    assert done.code == 3
    for part in ("run.json", str(tmp_path / "colours"), "name their folder with --data-root"):
        assert part in done.err
    other = make_pictures(tmp_path / "other" / "colours", seed=7)
    done = command("evaluate", run, "--data-root", other)
    assert done.code == 2
    assert "was trained on something else" in done.err
    (tmp_path / "again").mkdir()
    moved = (tmp_path / "colours-of-today").rename(tmp_path / "again" / "colours")
    assert command("evaluate", run, "--data-root", moved).code == 0
    after = read_record(run / "record.json")
    assert [s.metrics for s in after.scores] == [s.metrics for s in before.scores]


def test_a_backbone_that_is_gone_is_named_with_the_run(run: Path, world: Path) -> None:
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace(str(world / "clip"), str(world / "gone")))
    done = command("evaluate", run)
    assert done.code in (2, 4)
    assert "run.json" in done.err
    assert str(world / "gone") in done.err
    (run / "run.json").write_text(text)  # paths may be corrected by hand, results may not
    assert command("evaluate", run).code == 0
    (run / "run.json").write_text(text.replace('"shots": 2', '"shots": 3'))
    assert "run.json: damaged" in command("evaluate", run).err
