"""The one training loop: it steps, guards, reports and resumes, whatever it trains.

Epochs and steps count from 0; the ``step`` given to a task is the step within its epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from diffuprompt.engine.files import load_state, remove_parts, save_state
from diffuprompt.engine.guard import Guard
from diffuprompt.engine.metrics import MetricsFile
from diffuprompt.engine.optim import Optimiser
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.engine.stop import StopRequest
from diffuprompt.errors import CheckpointError, TrainingError

STATE_FILE = "state.pt"
METRICS_FILE = "metrics.jsonl"
TERM, GRADIENT = "the loss term", "the gradient"


class Task(Protocol):
    """What the loop trains."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the learnables, always in the same order."""

    def state(self) -> dict[str, Any]:
        """Return all that is learned or accumulated: plain tensors, numbers, nested dicts."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned, in place: the parameters stay the same objects."""

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return scalar terms by name; "loss" is minimised, the others are only shown.

        Data and noise must derive from (seed, epoch, step) alone, or a resumed run differs.
        """

    def after_step(self, epoch: int, step: int) -> None:
        """Do what follows an update, for example an exponential moving average."""

    def after_epoch(self, epoch: int) -> None:
        """Do what follows the last step of an epoch, for example prompt aggregation."""


def train(
    task: Task,
    optimiser: Optimiser,
    *,
    epochs: int,
    steps_per_epoch: int,
    folder: Path | None = None,
    fingerprint: str = "",
    save_every_s: float = 30.0,
    progress: Progress = NULL,
    label: str = "training",
    no_decay: Callable[[nn.Parameter], bool] | None = None,
) -> dict[str, float]:
    """Train ``task`` and return the mean of each term over the last epoch, "steps" and "seconds".

    With a ``folder``, ``state.pt`` is replaced at most every ``save_every_s`` seconds and at the
    end, ``metrics.jsonl`` gets one line per step (at most 10 per second), SIGTERM saves and
    exits with 143, and a rerun continues at the next step with the same result bit for bit (on the
    CPU); a finished run is only loaded. ``no_decay`` chooses parameters without weight decay.

    Raises `CheckpointError` when the folder belongs to another run or is damaged, `TrainingError`
    for a loss or gradient that is not finite: on the CPU before the update, on an accelerator when
    numbers are read next, which is before they are shown (at most 10 times per second) and before
    anything is saved. So no step waits for the device, and no spoiled state is ever saved.
    """
    run = _Run(task, optimiser.build(task.parameters(), no_decay=no_decay))
    plan = {
        "fingerprint": fingerprint,
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "optimiser": _told(optimiser),
    }
    total = epochs * steps_per_epoch
    if folder is not None:
        run.resume(folder / STATE_FILE, plan)
    if run.step < total:
        name = f"{label} (from step {run.step})" if run.step else label
        with (
            StopRequest(active=folder is not None) as stop,
            MetricsFile(folder / METRICS_FILE if folder else None, keep=run.step) as metrics,
            progress.task(name, total=total - run.step) as shown,
        ):
            saved_at = time.monotonic()
            while run.step < total:
                epoch, step = divmod(run.step, steps_per_epoch)
                lr = optimiser.lr_at(epoch, step, epochs, steps_per_epoch)
                run.update(epoch, step, lr, optimiser.clip_norm)
                terms: dict[str, float] = {}
                if run.guard.ready or run.step + 1 == total:
                    terms = run.read()
                    metrics.write(run.step, epoch=epoch, step=step, lr=lr, **terms)
                run.finish(epoch, step, last=step + 1 == steps_per_epoch)
                shown.advance(1, **terms)
                due = run.step == total or time.monotonic() - saved_at >= save_every_s
                if folder is not None and (due or stop.asked):
                    metrics.flush()
                    run.save(folder / STATE_FILE, plan)
                    saved_at = time.monotonic()
                stop.leave_if_asked()
    means = {name: value / max(run.counted, 1) for name, value in run.sums.items()}
    return {**means, "steps": float(total), "seconds": run.seconds}


class _Run:
    """The state between two steps: all that a resumed process needs."""

    def __init__(self, task: Task, optimizer: torch.optim.Optimizer) -> None:
        self.task, self.optimizer = task, optimizer
        self.params = [p for group in optimizer.param_groups for p in group["params"]]
        self.guard = Guard()
        self.step = 0  # the next step, counted over all epochs
        self.sums: dict[str, float] = {}  # of each term over the current epoch
        self.counted = 0
        self.seconds = 0.0
        self._since = time.monotonic()

    def update(self, epoch: int, step: int, lr: float, clip_norm: float | None) -> None:
        """Do one guarded update."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.task.loss(epoch, step)
        if "loss" not in losses:
            raise TrainingError(f'a task must return a term "loss", got {sorted(losses)}')
        self.guard.take(TERM, losses, epoch, step)
        losses["loss"].backward()
        norm = get_total_norm([p.grad for p in self.params if p.grad is not None])
        self.guard.take(GRADIENT, {"norm": norm}, epoch, step)
        if clip_norm is not None:
            clip_grads_with_norm_(self.params, clip_norm, norm)
        self.optimizer.step()

    def read(self) -> dict[str, float]:
        """Count the terms of all steps since the last reading; return those of the newest."""
        terms: dict[str, float] = {}
        for record in self.guard.read():
            if record.kind != TERM:
                continue
            if record.step == 0:
                self.sums, self.counted = {}, 0
            terms = {name: float(value) for name, value in record.values.items()}
            for name, value in terms.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.counted += 1
        return terms

    def finish(self, epoch: int, step: int, *, last: bool) -> None:
        """Let the task follow the step up."""
        self.task.after_step(epoch, step)
        if last:
            self.task.after_epoch(epoch)
        self.step += 1
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now

    def save(self, path: Path, plan: dict[str, Any]) -> None:
        """Replace the state file; raises before that when a number was not finite."""
        self.read()
        state = {
            "plan": plan,
            "step": self.step,
            "sums": self.sums,
            "counted": self.counted,
            "seconds": self.seconds,
            "task": self.task.state(),
            "optimizer": self.optimizer.state_dict()["state"],
        }
        save_state(path, state)

    def resume(self, path: Path, plan: dict[str, Any]) -> None:
        """Continue from the state file, where there is one of the same plan."""
        remove_parts(path)
        if not path.exists():
            return
        state = load_state(path)
        _same_plan(path, state.get("plan"), plan)
        groups = self.optimizer.state_dict()["param_groups"]
        try:
            self.task.load_state(state["task"])
            self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
            self.step, self.sums = int(state["step"]), dict(state["sums"])
            self.counted, self.seconds = int(state["counted"]), float(state["seconds"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as cause:
            raise CheckpointError(
                f"{path}: not the state of this training ({type(cause).__name__}: {cause}); "
                "delete it to start again"
            ) from cause
        self._since = time.monotonic()


def _told(optimiser: Optimiser) -> dict[str, Any]:
    """Return the settings as they are read back; the default ``eps`` is left out, as before."""
    told = {**asdict(optimiser), "betas": list(optimiser.betas)}
    if optimiser.eps == Optimiser.eps:
        del told["eps"]
    return told


def _same_plan(path: Path, old: Any, new: dict[str, Any]) -> None:
    if not isinstance(old, dict):
        raise CheckpointError(f"{path}: not a training state; delete it to start again")
    changed = [f"{k} was {old.get(k)!r}, is {new[k]!r}" for k in new if old.get(k) != new[k]]
    if changed:
        raise CheckpointError(
            f"{path}: belongs to another run: {'; '.join(changed)}. "
            "Use another folder, or delete this one to start again."
        )
