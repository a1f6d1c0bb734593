"""A training process killed with SIGKILL in every stage ends with the bytes of a whole run.

The killed processes run the real command line; only two things differ from a user's: state is
saved after every step instead of every 30 s, and each save is followed by a short sleep, so that
the kills land where they are meant to.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from tests.world import command

from diffuprompt.cli.main import main
from diffuprompt.engine import files, loop
from diffuprompt.generators import calibrate, fitting, shards
from diffuprompt.hub import artifact
from diffuprompt.jobs import train as job
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.run_folder import RunFolder
from diffuprompt.stages import overfitting

WORDS = (
    *("train", "--data", "colours", "--backbone", "./clip", "--learner", "cocoop"),
    *("--generator", "diffusion", "--shots", "3", "--workers", "0"),
    *("--set", "train.epochs=2", "--set", "train.batch=3", "--set", "views=2"),
    *("--set", "overfit.batch=2", "--set", "overfit.negatives=2", "--set", "fit.classes=4"),
    *("--set", "fit.epochs=4", "--set", "fit.batch=5", "--set", "fit.ce_weight=1"),
)
PAUSE_S = 0.05
# stage, and how many saves of its own a process makes there before it is killed; the first one of
# overfitting is the calibrated rate
KILLS = (
    *(("learner", 1), ("overfit", 1), ("overfit", 2)),
    *(("diffusion", 1), ("diffusion", 2), ("artifact", 1)),
)


def work(world: Path, out: Path, pause_s: float) -> None:
    """Train as ``diffuprompt train`` does, saving always and slowly."""
    os.chdir(world)
    os.environ["DIFFUPROMPT_CACHE"] = str(world / "cache")
    save, write = files.save_state, files.write_tensors

    def save_and_wait(*args: object) -> None:
        save(*args)  # type: ignore[arg-type]
        time.sleep(pause_s)

    def write_and_wait(*args: object) -> None:
        write(*args)  # type: ignore[arg-type]
        time.sleep(pause_s)

    loop.save_state = save_and_wait  # type: ignore[attr-defined]
    for module in (calibrate, shards, artifact):
        module.write_tensors = write_and_wait  # type: ignore[attr-defined]
    always = functools.partial(loop.train, save_every_s=0.0)
    job.train = fitting.train = always  # type: ignore[attr-defined]
    overfitting.overfit = functools.partial(  # type: ignore[attr-defined]
        overfitting.overfit, save_every_s=0.0
    )
    sys.exit(main([*WORDS, "--out", str(out)]))


def saves(folder: Path) -> tuple[tuple[str, int], ...]:
    """What a stage has saved: changes with every save."""
    found = []
    for path in sorted(folder.glob("[!.]*")) if folder.is_dir() else ():
        if path.suffix in (".pt", ".safetensors"):
            found.append((path.name, path.stat().st_mtime_ns))
    return tuple(found)


def kill_after(process: BaseProcess, folder: Path, count: int, wait_s: float) -> bool:
    """Kill ``process`` a moment after ``count`` saves in ``folder``; False if it ended first."""
    seen, last = 0, saves(folder)
    while seen < count:
        if not process.is_alive():
            return False
        now = saves(folder)
        seen, last = seen + (now != last), now
        time.sleep(0.001)
    time.sleep(wait_s)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def test_killed_in_every_stage_gives_the_same_bytes(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "other-cache"))
    whole = command(*WORDS, "--out", tmp_path / "alone" / "whole")
    assert whole.code == 0, whole.err
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # slow imports, once for all
    rng, out = random.Random(3), tmp_path / "cut"
    steps: dict[str, list[int]] = {}
    for stage, count in KILLS:
        process = context.Process(target=work, args=(world, out, PAUSE_S))
        process.start()
        folder = out / stage if stage == "artifact" else out / "checkpoint" / stage
        assert kill_after(process, folder, count, rng.uniform(0, PAUSE_S)), f"in {stage}"
        assert not (out / "artifact" / "artifact.json").exists()
        if stage in ("learner", "diffusion"):
            steps.setdefault(stage, []).append(files.load_state(folder / "state.pt")["step"])
    for stage, reached in steps.items():  # every process went on where the last one was
        assert 0 < reached[0], stage
        assert reached == sorted(set(reached)), stage
    before = {stage: saves(out / "checkpoint" / stage) for stage in ("learner", "overfit")}
    last = context.Process(target=work, args=(world, out, 0.0))
    last.start()
    last.join(60)
    assert last.exitcode == 0
    # finished stages were only loaded
    assert before == {stage: saves(out / "checkpoint" / stage) for stage in before}
    assert_same(out / "artifact", tmp_path / "alone" / "whole" / "artifact")
    # an artifact that was cut off counts as none, and is written again
    (out / "artifact" / "artifact.json").unlink()
    (out / "artifact" / "prompts.safetensors").write_bytes(b"half")
    assert command(*WORDS, "--out", out).code == 0
    assert_same(out / "artifact", tmp_path / "alone" / "whole" / "artifact")


def assert_same(found: Path, expected: Path) -> None:
    names = {"prompts.safetensors", "artifact.json", "README.md"}
    assert {path.name for path in found.iterdir()} == names
    for name in names:
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name


def start_training(world: Path, out: Path, epochs: int) -> subprocess.Popen[str]:
    """The command line in a process of its own, with its standard error to read."""
    words = ("train", "--data", "colours", "--backbone", "./clip", "--workers", "0")
    sets = ("--set", f"epochs={epochs}", "--set", "views=1", "--out", str(out))
    source = Path(job.__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "diffuprompt.cli.main", *words, *sets],
        cwd=world,
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sigterm_saves_and_exits_with_143(world: Path, tmp_path: Path) -> None:
    process = start_training(world, tmp_path / "run", epochs=1000000)
    learner = tmp_path / "run" / "checkpoint" / "learner"
    while not (learner / "metrics.jsonl").exists():
        assert process.poll() is None, process.stderr
        time.sleep(0.02)
    process.terminate()
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in shown
    assert files.load_state(learner / "state.pt")["step"] > 0
    assert not (tmp_path / "run" / "artifact").exists()


def test_two_processes_never_work_on_one_run(world: Path, tmp_path: Path) -> None:
    """The second waits, finds the run trained, and leaves it alone; what is done needs no lock."""
    folder = RunFolder(tmp_path / "run")
    first = start_training(world, folder.path, epochs=1)
    first.communicate(timeout=60)
    assert first.returncode == 0
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
