"""Fitting AMED against a fine teacher: interval by interval first, then the end that counts.

Legend: B row of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.diffusion.amed import Look, amed_step, analytic_x0, intervals
from diffuprompt.diffusion.amed_predictor import AmedPredictor
from diffuprompt.diffusion.sampling import Denoise, at, levels
from diffuprompt.diffusion.unipc import unipc
from diffuprompt.engine import NULL, Optimiser, Progress, train
from diffuprompt.errors import TrainingError

Start = tuple[Denoise, Tensor]
"""A denoiser bound to its conditions, and the states ``(B, ...)`` at the grid's first level."""


@dataclass(frozen=True, kw_only=True)
class AmedFit:
    """How AMED is fitted; the authors' recipe but for what `fit_amed` says.

    Attributes:
        interval_steps: updates on every interval by itself, from the teacher's states.
        end_steps: updates on the last state of the whole run.
        lr: Adam's peak rate, falling as a cosine.
        teacher_points: evaluations of the teacher per interval.
    """

    interval_steps: int = 100
    end_steps: int = 200
    lr: float = 5e-3
    teacher_points: int = 16


def fit_amed(
    predictor: AmedPredictor,
    batches: Sequence[Start],
    config: AmedFit | None = None,
    *,
    folder: Path | None = None,
    fingerprint: str = "",
    save_every_s: float = 30.0,
    progress: Progress = NULL,
) -> dict[str, float]:
    """Fit the pairs in place and freeze them (arXiv 2312.00094); deterministic given the batches.

    With a ``folder`` an interrupted fit goes on where it was saved, given the predictor and the
    batches that it began with, and ends with the same bits; the teacher runs again.

    Deviations: the teacher is UniPC-3 with 16 points per interval, since Heun with one more point
    overshoots a unit Gaussian by 15 to 49 % from sigma 221; squared errors are divided by the
    teacher's mean square of the row, since states span three orders; and the whole run is fitted
    at the end, so that later intervals make up for earlier ones.

    Args:
        predictor: built for the grid and for the denoisers of ``batches``.
        batches: taken in turn, one per update. Parameters of the denoisers should not require
            gradients; none of them changes.
        config: defaults to `AmedFit()`.
        folder: where the two stages keep their states, in "intervals" and "ends".
        fingerprint: names all that the fit depends on; see `engine.loop.train`.
        save_every_s: seconds of work that a kill may cost.
        progress: shows the updates.

    Returns:
        ``amed_start`` and ``amed_end``, the mean relative squared error of the end states before
        and after.

    Raises:
        CheckpointError: ``folder`` belongs to another fit or is damaged.
        TrainingError: the teacher's states, a loss or a gradient are not finite.
    """
    config = config or AmedFit()
    predictor.requires_grad_(True)
    paths = [teach(predictor, *batch, config.teacher_points) for batch in batches]
    before = _error(predictor, paths)
    optimiser = Optimiser(kind="adam", lr=config.lr, weight_decay=0.0, schedule="cosine")
    for name, task, steps in (
        ("intervals", _Intervals(predictor, paths), config.interval_steps),
        ("ends", _Ends(predictor, paths), config.end_steps),
    ):
        if steps:
            train(
                task,
                optimiser,
                epochs=1,
                steps_per_epoch=steps,
                folder=folder / name if folder else None,
                fingerprint=fingerprint,
                save_every_s=save_every_s,
                progress=progress,
                label=f"AMED, {name}",
            )
    predictor.requires_grad_(False)
    return {"amed_start": before, "amed_end": _error(predictor, paths)}


@dataclass(frozen=True, eq=False)
class Taught:
    """A teacher's run: its states where the intervals start, what is seen there, and its end."""

    denoise: Denoise
    states: list[Tensor]
    looks: list[Look]

    def ends(self) -> list[Tensor]:
        """Return the state that each interval should reach."""
        return self.states[1:]


@torch.no_grad()
def teach(predictor: AmedPredictor, denoise: Denoise, x: Tensor, points: int) -> Taught:
    """Run UniPC-3 on the grid with ``points`` steps per interval, evenly in ln(sigma).

    States at the grid's levels are those at which the teacher evaluates, so what is seen there is
    known too, unless the predictor reads hidden features; its last state is returned by it.

    Raises:
        TrainingError: a state is not finite.
    """
    grid = levels(predictor.sigmas)
    positive = [s for s in grid if s > 0]
    fine = [a * (b / a) ** (j / points) for a, b in pairwise(positive) for j in range(points)]
    fine += grid[len(positive) - 1 :]
    every: list[tuple[Tensor, Tensor]] = []  # states and answers

    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        every.append((x, denoise(x, sigma)))
        return every[-1][1]

    dense = torch.tensor(fine, dtype=torch.float64)
    end = unipc(watched, x, dense, order=3, lower_order_final=False)
    steps = intervals(predictor.sigmas)
    starts = every[: points * len(steps) : points]
    states = [*(state for state, _ in starts), end]
    if not bool(torch.stack([state.isfinite().all() for state in states]).all()):
        raise TrainingError(
            "AMED: the teacher's states are not finite; the denoiser gives inf or nan on the grid "
            f"{grid}"
        )
    looks = [Look(analytic_x0(x, grid[0]), None)] if predictor.afs else []
    for (state, answer), interval in list(zip(starts, steps, strict=True))[len(looks) :]:
        sigma = at(interval.a, state)
        if predictor.reads_hidden:
            looks.append(predictor.look(denoise, state, sigma))
        else:
            looks.append(predictor.seen(state, answer, sigma))
    return Taught(denoise, states, looks)


def relative_error(got: Tensor, want: Tensor) -> Tensor:
    """Return the squared error over the mean square wanted, per row, averaged over rows."""
    error, size = ((t.flatten(1).square().mean(1)) for t in (got - want, want))
    return (error / (size + 1e-3 * size.mean())).mean()  # a row near 0 must not rule


@torch.no_grad()
def _error(predictor: AmedPredictor, paths: Sequence[Taught]) -> float:
    """Return the mean error of end states."""
    task = _Ends(predictor, paths)
    return sum(float(task.loss(0, i)["loss"]) for i in range(len(paths))) / len(paths)


class _Fit:
    """What both stages share: the same parameters, one path per update."""

    def __init__(self, predictor: AmedPredictor, paths: Sequence[Taught]) -> None:
        self.predictor, self.paths = predictor, paths

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.predictor.parameters()

    def state(self) -> dict[str, Any]:
        return {"predictor": self.predictor.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.predictor.load_state_dict(state["predictor"])

    def after_step(self, epoch: int, step: int) -> None:
        """No average is kept: the last state counts."""

    def after_epoch(self, epoch: int) -> None:
        """An epoch is only a pass over the paths: nothing follows it."""


class _Intervals(_Fit):
    """Every interval from the teacher's state; they share no parameter, so their sum is enough."""

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        path, total = self.paths[step % len(self.paths)], []
        steps = intervals(self.predictor.sigmas)
        pairs = zip(path.states, path.ends(), path.looks, steps, strict=False)
        for i, (x, end, seen, interval) in enumerate(pairs):
            chosen = self.predictor.pair(i, seen.features)
            got = amed_step(path.denoise, x, seen.x0, interval, *chosen)
            total.append(relative_error(got, end))
        return {"loss": torch.stack(total).sum()}


class _Ends(_Fit):
    """The whole run from the start."""

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        path = self.paths[step % len(self.paths)]
        got = self.predictor(path.denoise, path.states[0], self.predictor.sigmas)
        return {"loss": relative_error(got, path.states[-1])}
