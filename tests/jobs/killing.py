"""Jobs in processes of their own that can be killed at any moment.

A process runs what a user's command runs; only two things differ: state is saved after every step
or batch (`ALWAYS`) instead of every 30 s (`AS_USUAL`), and each write is followed by a short sleep,
so that kills land everywhere. All have one thread, as the test that starts them has (conftest):
two threads add in another order, and other bits would be no fault of what was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from tests.contract.generators import SMALL

from diffuprompt.diffusion.amed_fit import AmedFit
from diffuprompt.diffusion.transformer import TransformerConfig
from diffuprompt.engine import files
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job
from diffuprompt.stages import score

PAUSE_S = 0.03
LONGEST_S = 1.2  # that a process lives before it is killed
ALWAYS, AS_USUAL = 0.0, 30.0  # seconds between savings; the second is the command line's


def slow_writes(pause_s: float) -> None:
    """Sleep after every file that this process writes."""
    write = files.write_bytes

    def write_and_wait(path: Path, data: bytes) -> None:
        write(path, data)
        time.sleep(pause_s)

    files.write_bytes = write_and_wait


def small_networks() -> None:
    """Let the denoising network be a small one, and AMED's fit a short one, in this process."""
    made = classmethod(lambda cls, name, **changes: replace(SMALL, **changes))
    TransformerConfig.preset = made  # type: ignore[assignment]
    AmedFit.__init__.__kwdefaults__.update(interval_steps=10, end_steps=20)


def train(job: JobConfig, cache: Path, save_every_s: float, pause_s: float) -> None:
    """Train as ``diffuprompt train`` does, saving slowly."""
    os.environ["DIFFUPROMPT_CACHE"] = str(cache)
    slow_writes(pause_s)
    small_networks()
    train_job(job, save_every_s=save_every_s)


def evaluate(
    run: Path, evaluation: Evaluation, cache: Path, save_every_s: float, pause_s: float
) -> None:
    """Evaluate as ``diffuprompt evaluate`` does, in batches of three images."""
    os.environ["DIFFUPROMPT_CACHE"] = str(cache)
    slow_writes(pause_s)
    small_networks()
    score.BATCH = 3
    evaluate_run(run, evaluation=evaluation, save_every_s=save_every_s)


def start(work: Callable[..., None], *args: object) -> BaseProcess:
    """Start a process that has done its slow imports already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.grounding.killing", "torch._dynamo"])
    process = context.Process(target=_with_one_thread, args=(work, *args))
    process.start()
    return process


def _with_one_thread(work: Callable[..., None], *args: object) -> None:
    torch.set_num_threads(1)
    work(*args)


def kill_at_random(
    begin: Callable[[float], BaseProcess], kills: int, rng: random.Random, finished: Path
) -> int:
    """Kill ``kills`` processes at random moments, each going on where the last one was.

    Returns how many lived to the end, for which the next one began anew: ``finished`` is the file
    that says so, and is deleted then. Afterwards one process runs to its end.
    """
    killed = ended = 0
    while killed < kills:
        process = begin(PAUSE_S)
        process.join(rng.uniform(0.0, LONGEST_S))
        if process.is_alive():
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
            killed += 1
        else:
            assert process.exitcode == 0
            ended += 1
        if finished.exists():
            finished.unlink()
    last = begin(0.0)
    last.join(120)
    assert last.exitcode == 0
    return ended
