"""A real process killed with SIGKILL at random moments ends with the same bytes."""

import multiprocessing
import random
import signal
import time
from pathlib import Path

from tests.engine.task import Regression

from diffuprompt.engine.loop import train
from diffuprompt.engine.optim import Optimiser

EPOCHS, STEPS = 3, 8
OPTIMISER = Optimiser(kind="adamw", lr=0.05, schedule="cosine", warmup_steps=3)


def work(folder: Path) -> None:
    """Train slowly, saving after every step, and leave the final bytes in a file."""
    task = Regression(hook=lambda *_: time.sleep(0.02))
    plan = {"epochs": EPOCHS, "steps_per_epoch": STEPS}
    train(task, OPTIMISER, **plan, folder=folder / "run", save_every_s=0.0)
    (folder / "final").write_bytes(task.bytes())


def saved_at(folder: Path) -> int:
    state = folder / "run" / "state.pt"
    return state.stat().st_mtime_ns if state.exists() else 0


def test_killed_at_random_points_gives_the_same_bytes(tmp_path):
    whole = Regression()
    train(whole, OPTIMISER, epochs=EPOCHS, steps_per_epoch=STEPS)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # slow imports, once for all
    rng, kills = random.Random(5), 0
    for _ in range(6):
        before = saved_at(tmp_path)
        process = context.Process(target=work, args=(tmp_path,))
        process.start()
        while process.is_alive() and saved_at(tmp_path) == before:
            time.sleep(0.002)  # until it has saved a step of its own
        time.sleep(rng.uniform(0, 0.06))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    assert kills >= 3  # the work was really cut; 24 steps of 20 ms outlast three kills
    last = context.Process(target=work, args=(tmp_path,))
    last.start()
    last.join(60)
    assert last.exitcode == 0
    assert (tmp_path / "final").read_bytes() == whole.bytes()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["metrics.jsonl", "state.pt"]
