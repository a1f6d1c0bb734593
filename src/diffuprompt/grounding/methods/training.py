"""Stage 3: a method learns from expressions and boxes, through a frozen detector's own losses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from diffuprompt.engine import NULL, Optimiser, Progress, torch_stream, train
from diffuprompt.errors import DataError
from diffuprompt.grounding.contract import Detector, Expressions, Method
from diffuprompt.grounding.methods.batches import Maps, as_inputs, no_maps, placed
from diffuprompt.grounding.methods.registry import method_kind, trainable_parameters
from diffuprompt.grounding.methods.settings import Settings
from diffuprompt.ranges import BATCH, COUNT, RATE, WEIGHT, Range

Rate = Annotated[float, RATE]


@dataclass(frozen=True, kw_only=True)
class MethodFit(Settings):
    """How a method is trained, by AdamW.

    Attributes:
        steps: updates.
        batch: expressions of a step.
        lr: the peak rate.
        weight_decay: on every parameter.
        warmup_steps: of linear warm-up.
        schedule: of the rate after it.
        clip_norm: largest norm of the gradient.
    """

    steps: Annotated[int, COUNT] = 1200
    batch: Annotated[int, BATCH] = 16
    lr: Rate = 2e-3
    weight_decay: Annotated[float, WEIGHT] = 1e-4
    warmup_steps: Annotated[int, COUNT] = 20
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: Annotated[float, Range(0, 1000, above=True)] = 1.0

    def optimiser(self) -> Optimiser:
        """Return it as the training loop reads it."""
        return Optimiser(
            kind="adamw",
            lr=self.lr,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
            schedule=self.schedule,
            clip_norm=self.clip_norm,
        )


def default_fit(name: str, **changes: Any) -> MethodFit:
    """Return how a method is trained on a small detector; ``changes`` are fields of `MethodFit`."""
    return MethodFit(**{"lr": method_kind(name).lr, **changes})


def paper_fit(**changes: Any) -> MethodFit:
    """Return the release's recipe (reference: AdamW 1e-4, decay 0.05, constant, clipped to 1)."""
    paper = {
        "batch": 64,
        "lr": 1e-4,
        "weight_decay": 0.05,
        "warmup_steps": 0,
        "schedule": "constant",
    }
    return MethodFit(**{**paper, **changes})


class MethodTask:
    """Steps of one method; which expressions a step reads derives from (seed, step) alone.

    Expressions come in a new order in every pass over the set, and steps run on across passes.
    ``maps`` gives `Inputs.maps` of rows, and must give the same for the same rows.
    """

    def __init__(
        self,
        method: Method,
        detector: Detector,
        expressions: Expressions,
        *,
        side: int,
        batch: int,
        seed: int,
        maps: Maps = no_maps,
    ) -> None:
        if not len(expressions):
            raise DataError("there are no expressions to train on")
        self.method, self.detector, self.expressions = method, detector, expressions
        self.side, self.batch, self.seed, self.maps = side, batch, seed, maps

    def rows(self, step: int) -> list[int]:
        """Return the rows of the set that a step reads."""
        total, first = len(self.expressions), step * self.batch
        orders: dict[int, list[int]] = {}
        found = []
        for place in range(first, first + self.batch):
            turn, index = divmod(place, total)
            if turn not in orders:
                chance = torch_stream(self.seed, "method-order", turn)
                orders[turn] = torch.randperm(total, generator=chance).tolist()
            found.append(orders[turn][index])
        return found

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the method's own; the detector has none to train."""
        return trainable_parameters(self.method)

    def state(self) -> dict[str, Any]:
        """Return what the method learned."""
        return {"method": dict(self.method.state_dict())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.method.load_state_dict(state["method"])

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the detector's losses under the method; there is one epoch, see `fit_method`."""
        rows = self.rows(step)
        batch, tokens = placed(self.detector, self.expressions.batch(rows, self.side))
        adaptation = self.method(as_inputs(batch, tokens, self.maps(rows)))
        answer = self.detector.run(batch.pixels, tokens, adaptation)
        return self.detector.loss(answer, tokens, batch.roots, batch.boxes)

    def after_step(self, epoch: int, step: int) -> None:
        """Nothing follows an update."""

    def after_epoch(self, epoch: int) -> None:
        """Nothing follows an epoch."""


def fit_method(
    task: MethodTask,
    fit: MethodFit,
    *,
    folder: Path | None = None,
    fingerprint: str = "",
    save_every_s: float = 30.0,
    progress: Progress = NULL,
    label: str = "training",
) -> dict[str, float]:
    """Train a method and return what `engine.train` returns; {} where nothing is to be trained.

    With a ``folder`` an interrupted training continues to the same bits.

    Raises:
        TrainingError: a loss or gradient is not finite.
        CheckpointError: the folder belongs to another training.
    """
    if not fit.steps or not trainable_parameters(task.method):
        return {}
    return train(
        task,
        fit.optimiser(),
        epochs=1,
        steps_per_epoch=fit.steps,
        folder=folder,
        fingerprint=fingerprint,
        save_every_s=save_every_s,
        progress=progress,
        label=label,
    )
