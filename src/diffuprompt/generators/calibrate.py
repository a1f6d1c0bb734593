"""The step size of overfitting, for which the paper gives no value, found on training images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from diffuprompt.errors import TrainingError
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.generators.descent import Problem, descend
from diffuprompt.generators.shards import check_key
from diffuprompt.runs import read_sealed, write_sealed

IMAGES = 32
STEPS = OverfitConfig.steps  # after which the drop is measured, however many steps are asked
FIRST_POWER, LADDER = 3, 12  # rates tried: std(prompts) * 2**power, at most 12 rungs up or down


def calibrate(
    problem: Problem, config: OverfitConfig, *, folder: Path | None = None, key: str = ""
) -> float:
    """Return the smallest rate of a factor-2 ladder whose median CE falls by ``target_drop``.

    The fall is measured after `STEPS` steps whatever ``config.steps`` is: with a rate of its own
    for each number of steps, a sweep over them would reach the same drop at every point.

    Uses evenly spaced training images, each with its own class list. When no rate reaches the
    drop, the one that falls furthest. The rate is kept in ``folder``; see `overfit` for ``key``.
    """
    path = folder / "calibration.safetensors" if folder else None
    sealed = read_sealed(path) if path else None
    if path and sealed:
        kept, told = sealed
        check_key(path, told.get("key"), key)
        return float(kept["lr"])
    lr = _search(problem, config)
    if path:
        write_sealed(path, {"lr": torch.tensor(lr, dtype=torch.float64)}, {"key": key})
    return lr


def _search(problem: Problem, config: OverfitConfig) -> float:
    """Walk up the ladder until the drop is reached, or down until it is lost again."""
    config = replace(config, steps=STEPS)
    count, size = len(problem.labels), float(problem.initial.std())
    index = torch.linspace(0, count - 1, min(IMAGES, count)).round().long()
    batches = problem.batches(index.to(problem.initial.device), config.batch)

    def drop(power: int) -> float:
        lr = size * 2.0**power
        try:
            ce = torch.cat([descend(problem, part, config, lr)["ce"] for part in batches])
        except TrainingError:  # too large a step left the finite numbers
            return -float("inf")
        before, after = ce[:, 0].median(), ce[:, -1].median()
        return 1 - float(after / before.clamp_min(1e-9))

    drops = {FIRST_POWER: drop(FIRST_POWER)}

    def walk(step: int) -> None:
        power = FIRST_POWER
        while abs(power - FIRST_POWER) < LADDER:
            power += step
            drops[power] = drop(power)
            best = max(drops.values())
            enough = best >= config.target_drop
            decided = enough and (step > 0 or drops[power] < config.target_drop)
            if decided or drops[power] < best - 0.2 or (step > 0 and best == -float("inf")):
                break

    if drops[FIRST_POWER] < config.target_drop:
        walk(1)
    if max(drops, key=lambda p: drops[p]) == FIRST_POWER:  # more than enough, or already too large
        walk(-1)
    good = [p for p, value in drops.items() if value >= config.target_drop]
    return size * 2.0 ** (min(good) if good else max(drops, key=lambda p: drops[p]))
