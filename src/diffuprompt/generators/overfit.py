"""Per-sample overfitting: every image's own best prompts V*, from a few gradient steps.

Legend: B image, C class, F flat, N all images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.engine.files import read_tensors, write_tensors
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.errors import CheckpointError, TrainingError
from diffuprompt.generators.config import OverfitConfig

Logits = Callable[[Tensor, Tensor], Tensor]
"""``logits(flat (B, F), index (B,)) -> (B, C)``: scores of images under given prompts."""

CALIBRATION_IMAGES = 32
FIRST_POWER, LADDER = 3, 12  # rates tried: std(prompts) * 2**power, at most 12 rungs up or down


@dataclass(frozen=True, eq=False)
class Overfitted:
    """V* ``(N, F)`` and the cross-entropy ``(N,)`` before and after."""

    prompts: Tensor
    ce_before: Tensor
    ce_after: Tensor
    lr: float

    def statistics(self, initial_NF: Tensor) -> dict[str, float]:
        """Return medians of the cross-entropies, and the median relative change of the prompts."""
        change = (self.prompts - initial_NF).norm(dim=1) / initial_NF.norm(dim=1).clamp_min(1e-12)
        return {
            "overfit_ce_before": float(self.ce_before.median()),
            "overfit_ce_after": float(self.ce_after.median()),
            "overfit_relative_change": float(change.median()),
            "overfit_lr": self.lr,
        }


def overfit(
    logits: Logits,
    initial_NF: Tensor,
    labels_N: Tensor,
    config: OverfitConfig,
    *,
    lr: float | None = None,
    folder: Path | None = None,
    key: str = "",
    progress: Progress = NULL,
    label: str = "overfitting",
) -> Overfitted:
    """Take ``config.steps`` steps on CE(x, y) for every image, from ``initial`` (eq. 6 ff.).

    Samples do not see each other: the result is the same for every batch size. With a ``folder``
    each finished batch is kept as a safetensors file and an interrupted run continues behind it;
    ``key`` names all that the result depends on, and another key is a `CheckpointError`.

    Raises:
        TrainingError: prompts become non-finite; the message names the image's index.
    """
    if lr is None:
        lr = config.lr or calibrate(logits, initial_NF, labels_N, config, folder=folder, key=key)
    parts: list[dict[str, Tensor]] = []
    count = len(labels_N)
    with progress.task(label, total=count) as task:
        for start in range(0, count, config.batch):
            index = torch.arange(start, min(start + config.batch, count), device=initial_NF.device)
            path = folder / f"{start:08d}-{len(index)}.safetensors" if folder else None
            part = _load(path, key, initial_NF[index]) if path else None
            if part is None:
                part = _steps(logits, initial_NF[index], labels_N[index], index, config, lr)
                if path:
                    write_tensors(path, part, {"key": key})
            parts.append(part)
            task.advance(len(index), ce=float(part["ce_after"].median()))
    whole = {name: torch.cat([p[name] for p in parts]).to(initial_NF.device) for name in parts[0]}
    return Overfitted(whole["prompts"], whole["ce_before"], whole["ce_after"], lr)


def calibrate(
    logits: Logits,
    initial_NF: Tensor,
    labels_N: Tensor,
    config: OverfitConfig,
    *,
    folder: Path | None = None,
    key: str = "",
) -> float:
    """Return the smallest rate of a factor-2 ladder whose median CE falls by ``target_drop``.

    Uses evenly spaced training images. When no rate reaches the drop, the one that falls furthest.
    """
    path = folder / "calibration.safetensors" if folder else None
    if path and path.exists():
        kept, metadata = read_tensors(path)
        _same(path, metadata.get("key"), key)
        return float(kept["lr"])
    index = torch.linspace(0, len(labels_N) - 1, min(CALIBRATION_IMAGES, len(labels_N)))
    index = index.round().long().to(initial_NF.device)
    size = float(initial_NF.std())

    def drop(power: int) -> float:
        try:
            part = _steps(
                logits, initial_NF[index], labels_N[index], index, config, size * 2.0**power
            )
        except TrainingError:  # too large a step left the finite numbers
            return -float("inf")
        before, after = part["ce_before"].median(), part["ce_after"].median()
        return 1 - float(after / before.clamp_min(1e-9))

    drops = {FIRST_POWER: drop(FIRST_POWER)}

    def walk(step: int) -> None:
        """Try rungs up until the drop is reached, or down until it is lost again."""
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
    lr = size * 2.0 ** (min(good) if good else max(drops, key=lambda p: drops[p]))
    if path:
        write_tensors(path, {"lr": torch.tensor(lr, dtype=torch.float64)}, {"key": key})
    return lr


def _steps(
    logits: Logits,
    initial_BF: Tensor,
    labels_B: Tensor,
    index_B: Tensor,
    config: OverfitConfig,
    lr: float,
) -> dict[str, Tensor]:
    prompts = initial_BF.detach().clone().requires_grad_()
    kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.SGD
    optimizer = kind([prompts], lr=lr)
    before = None
    for _ in range(config.steps):
        ce = functional.cross_entropy(logits(prompts, index_B), labels_B, reduction="none")
        before = ce.detach() if before is None else before
        # The sum over images: each image's gradient is its own, whatever the batch.
        (prompts.grad,) = torch.autograd.grad(ce.sum(), prompts)
        optimizer.step()
    with torch.no_grad():
        after = functional.cross_entropy(logits(prompts, index_B), labels_B, reduction="none")
    bad = ~torch.isfinite(prompts).all(1) | ~torch.isfinite(after)
    if bad.any():
        raise TrainingError(
            f"overfitting image {int(index_B[bad][0])} left the finite numbers at lr={lr:g}; "
            "set a smaller overfit.lr"
        )
    out = {"prompts": prompts, "ce_before": after if before is None else before, "ce_after": after}
    return {name: tensor.detach() for name, tensor in out.items()}


def _load(path: Path, key: str, like_BF: Tensor) -> dict[str, Tensor] | None:
    if not path.exists():
        return None
    part, metadata = read_tensors(path)
    _same(path, metadata.get("key"), key)
    found = {name: tuple(tensor.shape) for name, tensor in part.items()}
    count = (len(like_BF),)
    want = {"prompts": tuple(like_BF.shape), "ce_before": count, "ce_after": count}
    if found != want:
        raise CheckpointError(
            f"{path}: expected prompts {want['prompts']} and their cross-entropies, got {found}; "
            "delete the folder"
        )
    return part


def _same(path: Path, found: str | None, key: str) -> None:
    if found != key:
        raise CheckpointError(
            f"{path}: overfitted prompts of another run (key {found!r}, expected {key!r}); "
            "delete the folder to compute them again"
        )
