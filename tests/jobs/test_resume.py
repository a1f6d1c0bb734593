"""What interruptions leave: stages that go on, one process at a time, polite stops.

Kills at random moments are in test_kills.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from tests.jobs.killing import ALWAYS, PAUSE_S, start, train
from tests.world import command, small_job

import diffuprompt
from diffuprompt.engine import files
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import prepare
from diffuprompt.jobs.run_folder import RunFolder
from diffuprompt.jobs.train import train_job
from diffuprompt.runs.store import WORK, Store

OVERRIDES = ("views=2", "overfit.batch=2", "diffusion.sampler=amed", "fit.ce_weight=1")
# stage, and how many saves of its own a process makes there before it is killed
KILLS = (
    *(("learner", 1), ("overfit", 1), ("overfit", 2)),
    *(("generator", 1), ("generator", 2), ("sampler", 2), ("artifact", 1)),
)


def job(world: Path, out: Path) -> JobConfig:
    return JobConfig(**{**vars(small_job(world, out.parent, "cocoop", *OVERRIDES)), "out": out})


def saves(folder: Path) -> tuple[tuple[str, int], ...]:
    """What has been saved below a folder: changes with every save."""
    found = []
    for path in sorted(folder.rglob("[!.]*")) if folder.is_dir() else ():
        if path.suffix in (".pt", ".safetensors"):
            try:
                found.append((path.name, path.stat().st_mtime_ns))
            except FileNotFoundError:
                continue
    return tuple(found)


def kill_after(process: BaseProcess, folder: Path, count: int) -> bool:
    """Kill ``process`` after ``count`` saves in ``folder``; False if it ended first."""
    seen, last = 0, saves(folder)
    while seen < count:
        if not process.is_alive():
            return False
        now = saves(folder)
        seen, last = seen + (now != last), now
        time.sleep(0.001)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def test_killed_in_every_stage_gives_the_same_bytes(
    world: Path, tmp_path: Path, small_networks_here: None
) -> None:
    whole = train_job(job(world, tmp_path / "alone" / "whole"))
    out = tmp_path / "cut" / "run"
    asked = job(world, out)
    stages = prepare(asked).chain.stages
    store = Store(out.parent / ".stages")
    reached: dict[str, list[int]] = {}
    for name, count in KILLS:
        process = start(train, asked, tmp_path / "cut-cache", ALWAYS, PAUSE_S)
        folder = out / name if name == "artifact" else store.folder(stages[name]).path
        assert kill_after(process, folder, count), f"in {name}"
        assert not (out / "artifact" / "artifact.json").exists()
        if name in ("learner", "generator"):
            state = files.load_state(folder / "work" / "state.pt")
            reached.setdefault(name, []).append(state["step"])
    for name, steps in reached.items():  # every process went on where the last one was
        assert steps[0] > 0, name
        assert steps == sorted(set(steps)), name
    done = {name: saves(store.folder(stage).path) for name, stage in stages.items()}
    last = start(train, asked, tmp_path / "cut-cache", ALWAYS, 0.0)
    last.join(60)
    assert last.exitcode == 0
    # finished stages were only loaded
    assert done == {name: saves(store.folder(stage).path) for name, stage in stages.items()}
    assert_same(out / "artifact", whole / "artifact")
    # an artifact that was cut off counts as none, and is written again
    (out / "artifact" / "artifact.json").unlink()
    (out / "artifact" / "prompts.safetensors").write_bytes(b"half")
    assert train_job(asked) == out
    assert_same(out / "artifact", whole / "artifact")


def test_a_finished_stage_is_found_by_another_run(world: Path, tmp_path: Path) -> None:
    """Learner and V* are made once, whoever needs them."""
    alone = small_job(world, tmp_path, "coop")
    plain = train_job(JobConfig(**{**vars(alone), "generator": "none", "overrides": ("epochs=2",)}))
    before = saves(plain.parent / ".stages")
    train_job(alone)
    train_job(small_job(world, tmp_path, "coop", "fit.lr=0.1"))
    names = [path.name for path in (plain.parent / ".stages").iterdir()]
    counts = {n: len(list((plain.parent / ".stages" / n).iterdir())) for n in names}
    assert counts == {"learner": 1, "overfit": 1, "generator": 2, "sampler": 2}
    assert set(before) <= set(saves(plain.parent / ".stages"))


def assert_same(found: Path, expected: Path) -> None:
    names = {"prompts.safetensors", "artifact.json", "README.md"}
    assert {path.name for path in found.iterdir()} == names
    for name in names:
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name


def training(out: Path, epochs: int) -> list[str]:
    """Return the words of a command that trains, in the folder of the tiny world."""
    words = ("train", "--data", "colours", "--backbone", "./clip", "--workers", "0")
    return [*words, "--set", f"epochs={epochs}", "--set", "views=1", "--out", str(out)]


def start_training(world: Path, out: Path, epochs: int) -> subprocess.Popen[str]:
    """The command line in a process of its own, with its standard error to read."""
    source = Path(diffuprompt.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-m", "diffuprompt", *training(out, epochs)],
        cwd=world,
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sigterm_saves_and_exits_with_143(world: Path, tmp_path: Path) -> None:
    process = start_training(world, tmp_path / "run", epochs=10000)
    stages = tmp_path / ".stages" / "learner"
    while not list(stages.glob(f"*/{WORK}/metrics.jsonl")):
        assert process.poll() is None, process.stderr
        time.sleep(0.02)
    process.terminate()
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in shown
    (state,) = stages.glob(f"*/{WORK}/state.pt")
    assert files.load_state(state)["step"] > 0
    assert not (tmp_path / "run" / "artifact").exists()


def test_two_processes_never_work_on_one_run(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits, finds the run trained, and leaves it alone; what is done needs no lock."""
    folder = RunFolder(tmp_path / "run")
    monkeypatch.chdir(world)
    assert command(*training(folder.path, epochs=1)).code == 0
    done, aside = folder.artifact / "artifact.json", tmp_path / "aside"
    with folder.held():
        done.rename(aside)  # as if the process that holds the run were at its last step
        second = start_training(world, folder.path, epochs=1)
        try:
            said = read_until(second, "another process works on this run")
            aside.rename(done)
        except BaseException:
            second.kill()
            raise
    _, rest = second.communicate(timeout=60)
    assert second.returncode == 0
    assert "is trained already" in said + rest
    record = evaluate_run(folder.path)
    with folder.held():
        assert evaluate_run(folder.path) == record


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return what a process says on standard error up to the line with ``words``."""
    said = ""
    assert process.stderr is not None
    while words not in said:
        line = process.stderr.readline()
        assert line, said  # it ended without a word of it
        said += line
    return said
