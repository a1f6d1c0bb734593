"""Optimisers and learning rates as one frozen value that configurations can carry.

Epochs and steps count from 0 here and in `loop`; ``step`` is the step within its epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn, optim

from diffuprompt.errors import ConfigError

Kind = Literal["sgd", "adam", "adamw"]
Schedule = Literal["dassl", "cosine", "cosine-floor", "two-stage", "constant"]
FLOOR = 1e-6  # where some cosines end
FIRST_STAGE = 0.6  # share of the epochs


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """One optimiser with its schedule; the defaults are the common recipe of the field.

    That recipe is Dassl's (CoOp, CoCoOp, MaPLe, PromptSRC): SGD, momentum 0.9, weight decay 5e-4
    on every learnable, a rate that changes once per epoch as in `dassl_lr`.

    Attributes:
        kind: "sgd" (with ``momentum``), "adam" (decay added to the gradient) or "adamw"
            (decoupled decay); both Adams use ``betas`` and ``eps``.
        lr: the peak rate.
        clip_norm: largest total gradient norm, None for no clipping.
        schedule: "dassl" by epochs; "cosine" and "constant" by steps; "cosine-floor" ends at 1e-6
            instead of 0, and "two-stage" is one of these for each of two stages (`first_stage`).
        warmup_epochs: "dassl" only: first epochs that run at ``warmup_lr``.
        warmup_steps: of all but "dassl": steps of linear warm-up towards ``lr``.
    """

    kind: Kind = "sgd"
    lr: float = 2e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float | None = None
    schedule: Schedule = "dassl"
    warmup_epochs: int = 1
    warmup_lr: float = 1e-5
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot train; all problems at once."""
        unit = "expected a number in [0, 1)"
        checks = {
            "kind": (self.kind in ("sgd", "adam", "adamw"), "expected sgd, adam or adamw"),
            "lr": (0 < self.lr < math.inf, "expected a positive number"),
            "momentum": (0 <= self.momentum < 1, unit),
            "weight_decay": (self.weight_decay >= 0, "expected 0 or more"),
            "betas": (all(0 <= beta < 1 for beta in self.betas), "expected numbers in [0, 1)"),
            "eps": (0 < self.eps < math.inf, "expected a positive number"),
            "clip_norm": (
                self.clip_norm is None or self.clip_norm > 0,
                "expected a positive number or None",
            ),
            "schedule": (
                self.schedule in get_args(Schedule),
                f"expected one of {list(get_args(Schedule))}",
            ),
            "warmup_epochs": (self.warmup_epochs >= 0, "expected 0 or more"),
            "warmup_lr": (self.warmup_lr >= 0, "expected 0 or more"),
            "warmup_steps": (self.warmup_steps >= 0, "expected 0 or more"),
        }
        problems = [
            f"{name}: {text}, got {getattr(self, name)!r}"
            for name, (fine, text) in checks.items()
            if not fine
        ]
        if problems:
            raise ConfigError("optimiser: " + "; ".join(problems))

    def build(
        self,
        params: Iterable[nn.Parameter],
        *,
        no_decay: Callable[[nn.Parameter], bool] | None = None,
    ) -> optim.Optimizer:
        """Return the torch optimiser over ``params``, in their order.

        Parameters for which ``no_decay`` is true go to a second group without weight decay.
        """
        every = list(params)
        spared = [p for p in every if no_decay is not None and no_decay(p)]
        chosen = {id(p) for p in spared}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in every if id(p) not in chosen]},
            {"params": spared, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if not groups:
            raise ConfigError("optimiser: nothing to train, the list of parameters is empty")
        if self.kind == "sgd":
            return optim.SGD(
                groups, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
            )
        adam = optim.Adam if self.kind == "adam" else optim.AdamW
        return adam(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay
        )

    def lr_at(self, epoch: int, step: int, epochs: int, steps_per_epoch: int) -> float:
        """Return the learning rate of one step; ``epoch`` and ``step`` count from 0."""
        if self.schedule == "dassl":
            return _dassl(self.lr, epoch, epochs, self.warmup_epochs, self.warmup_lr)
        done = epoch * steps_per_epoch + step
        if done < self.warmup_steps:
            return self.lr * (done + 1) / (self.warmup_steps + 1)
        if self.schedule == "constant":
            return self.lr
        start, stop = self.warmup_steps, epochs * steps_per_epoch
        if self.schedule == "two-stage":
            turn = first_stage(epochs) * steps_per_epoch
            start, stop = (start, turn) if done < turn else (turn, stop)
        share = (done - start) / max(stop - start, 1)
        if self.schedule == "cosine":
            return _half_cosine(self.lr, share)
        floor = min(FLOOR, self.lr)
        return floor + _half_cosine(self.lr - floor, share)


def first_stage(epochs: int) -> int:
    """Return how many of the epochs belong to the first of two stages: at least one."""
    return max(round(FIRST_STAGE * epochs), 1)


def dassl_lr(
    lr0: float, epochs: int, *, warmup_epochs: int = 1, warmup_lr: float = 1e-5
) -> list[float]:
    """Return the learning rate of each epoch as Dassl's engine steps it.

    The first ``warmup_epochs`` run at ``warmup_lr``; then a cosine *starts*, still as long as all
    ``epochs``, so the rate never reaches 0: epoch e (from 1) of E with one warm-up epoch has
    ``0.5 * lr0 * (1 + cos(pi * (e - 2) / E))``.
    """
    return [_dassl(lr0, epoch, epochs, warmup_epochs, warmup_lr) for epoch in range(epochs)]


def _dassl(lr0: float, epoch: int, epochs: int, warmup_epochs: int, warmup_lr: float) -> float:
    if epoch < warmup_epochs:
        return warmup_lr
    return _half_cosine(lr0, (epoch - warmup_epochs) / epochs)


def _half_cosine(lr0: float, done: float) -> float:
    return 0.5 * lr0 * (1 + math.cos(math.pi * done))
