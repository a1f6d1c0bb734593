"""Per-sample overfitting: every image's own best prompts V*, from a few gradient steps.

Legend: C class, F flat, I steps, M listed class, N all images.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.engine import NULL, Progress
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.generators.calibrate import calibrate
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.descent import Problem, descend
from diffuprompt.generators.shards import Part, Shards


@dataclass(frozen=True, eq=False, kw_only=True)
class Overfitted:
    """V* of N images, in their order.

    Attributes:
        prompts: V* ``(N, F)``.
        ce: cross-entropy ``(N, 1 + I)`` before and after each step, over the class lists.
        lr: the step size.
        iterates: prompts ``(N, F)`` after the steps that were asked for.
    """

    prompts: Tensor
    ce: Tensor
    lr: float
    iterates: dict[int, Tensor] = field(default_factory=dict)


def overfit(
    problem: Problem,
    config: OverfitConfig,
    *,
    lr: float | None = None,
    keep: Collection[int] = (),
    folder: Path | None = None,
    key: str = "",
    save_every_s: float = 30.0,
    progress: Progress = NULL,
    label: str = "overfitting",
) -> Overfitted:
    """Take ``config.steps`` steps on CE(x, y) for every image (arXiv 2410.20164, eq. 6 ff.).

    Samples do not see each other: the result is the same for every batch size. With a ``folder``
    what is finished is kept in files (`Shards`) and an interrupted run continues behind them.

    Args:
        problem: the images, where their prompts start, and which classes enter their loss.
        config: how to overfit.
        lr: the step size; None is the configuration's, or a calibrated one.
        keep: steps after which prompts are returned as `Overfitted.iterates`.
        folder: where finished images are kept.
        key: names all that the result depends on.
        save_every_s: seconds of work that a kill may cost.
        progress: shows what is going on.
        label: how the work is called there.

    Raises:
        CheckpointError: ``folder`` holds another run, or files are damaged.
        TrainingError: prompts become non-finite; the message names the image's index.
    """
    if config.batch < 1:
        raise ConfigError("overfit.batch: 0 is chosen by the protocols; give the number of images")
    if lr is None:
        lr = config.lr or calibrate(problem, config, folder=folder, key=key)
    initial = problem.initial
    count, size = initial.shape
    tails = {"prompts": (size,), "ce": (1 + config.steps,)}
    tails |= {f"prompts_{step}": (size,) for step in sorted(keep)}
    out = {name: initial.new_zeros(count, *tail) for name, tail in tails.items()}
    done = torch.zeros(count, dtype=torch.bool)  # on the host: nothing waits to look at it
    shards = Shards(folder, key, tails, every_s=save_every_s)
    for part in shards.read():
        _check(part, count, folder)
        _put(out, part)
        done[part["index"]] = True
    # Batches are cut before what is done drops out: a resumed run computes in the same company,
    # and so bit for bit the same.
    everything = torch.arange(count, device=initial.device)
    rest = problem.batches(everything, config.batch)
    if done.any():
        rest = [part[~done[part.cpu()].to(part.device)] for part in rest]
        rest = [part for part in rest if len(part)]
    if not rest:
        return _result(out, lr)
    before = int(done.sum())
    label = f"{label} ({before} done before)" if before else label
    try:
        with progress.task(label, total=count - before) as task:
            for index in rest:
                part = {"index": index, **descend(problem, index, config, lr, keep=keep)}
                shards.add(part)
                _put(out, part)
                task.advance(len(index), ce=float(part["ce"][:, -1].median()))
    finally:
        shards.flush()
    return _result(out, lr)


def _check(part: Part, count: int, folder: Path | None) -> None:
    """Raise unless what a file holds is of images that there are."""
    index = part["index"]
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < count:
        raise CheckpointError(
            f"{folder}: expected results of images 0 to {count - 1}, got image "
            f"{int(index.max())}; delete the folder"
        )


def _put(out: Part, part: Part) -> None:
    """Write the results of some images into those of all."""
    for name, rows in out.items():
        rows[part["index"].to(rows.device)] = part[name].to(rows)


def _result(out: Part, lr: float) -> Overfitted:
    iterates = {
        int(name.removeprefix("prompts_")): tensor
        for name, tensor in out.items()
        if name.startswith("prompts_")
    }
    return Overfitted(prompts=out["prompts"], ce=out["ce"], lr=lr, iterates=iterates)
