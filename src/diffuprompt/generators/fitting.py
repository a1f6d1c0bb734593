"""Fitting any generator: the data order, the task loss, the average of weights, resuming.

Everything that all generators must share to be comparable is here; a generator brings its own loss.

Legend: B image, E embedding, F flat, N training image, Z normalised coordinate, M draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import Ema
from diffuprompt.engine import NULL, Progress, mixed, moved, sent, torch_stream, train
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.types import FittingTask, PromptPairs, TaskLoss, TrainingLoss

STEPS = 800  # of training, where no number of epochs is asked for
QUALITY_IMAGES, QUALITY_DRAWS = 64, 4


class FitTask:
    """What the training loop steps: data order and noise derive from (seed, epoch, step)."""

    def __init__(self, owner: PromptGenerator, pairs: PromptPairs, task_loss: TaskLoss) -> None:
        self.owner, self.pairs, self.task_loss = owner, pairs, task_loss
        self.target = owner.normaliser.encode(pairs.target, pairs.initial)
        self.batch = min(owner.fitting.batch, len(self.target))
        self.ema = Ema(self.parameters(), owner.fitting.ema)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches; what is left over differs every epoch."""
        return len(self.target) // self.batch

    @property
    def epochs(self) -> int:
        """Passes over the images: as configured, or what makes `STEPS` steps."""
        return self.owner.fitting.epochs or math.ceil(STEPS / self.steps_per_epoch)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the network's."""
        return self.owner.network.parameters()

    def state(self) -> dict[str, Any]:
        """Return the weights and their averages."""
        return {"network": self.owner.network.state_dict(), "ema": self.ema.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.owner.network.load_state_dict(state["network"])
        self.ema.load_state(state["ema"])

    def index(self, epoch: int, step: int) -> Tensor:
        """Return the positions ``(B,)`` of the step's images, on the host."""
        order = torch.randperm(len(self.target), generator=self.stream("order", epoch))
        return order[step * self.batch : (step + 1) * self.batch]

    def stream(self, *names: str | int) -> torch.Generator:
        """Return the generator's own random stream of one name."""
        return torch_stream(self.owner.seed, self.owner.name, *names)

    def targets(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalised targets ``(B, Z)`` and V0 ``(B, F)`` of some images."""
        return self.target[index], self.pairs.initial[index]

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return L = CE + beta * own loss with its terms."""
        owner, config = self.owner, self.owner.fitting
        index, device = self.index(epoch, step), self.target.device
        at = sent(index, device)
        stream = self.stream("noise", epoch, step)
        target, initial = self.targets(at)
        own = self.training_loss(target, at, stream)
        total = config.beta * self.own_loss(own, target)
        terms = {owner.name: own.loss, **own.shown}
        chosen = torch.arange(len(index))
        if own.usable is not None:
            chosen = chosen[own.usable]  # on the host, so that nobody waits for their number
        if config.ce_samples:
            chosen = chosen[: config.ce_samples]  # the order is random already
        if config.ce_weight and len(chosen):
            here = sent(chosen, device)
            guess = owner.normaliser.decode(own.guess[here], initial[here])
            terms["ce"] = self.task_loss(guess, index[chosen])
            total = total + config.ce_weight * terms["ce"]
        return {"loss": total, **terms}

    def own_loss(self, own: TrainingLoss, target_BZ: Tensor) -> Tensor:
        """Return the generator's own loss as it is stepped on."""
        return own.loss

    def training_loss(
        self, target_BZ: Tensor, index: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return what the generator makes of the images at ``index``."""
        noise = self.owner.fitting.condition_noise
        features = blurred(self.pairs.features[index], noise, stream)
        with mixed(self.owner.precision, target_BZ.device):
            found = self.owner.training_loss(target_BZ, features, stream)
        return replace(found, guess=found.guess.to(target_BZ.dtype))

    def after_step(self, epoch: int, step: int) -> None:
        """Follow the weights with their average."""
        self.ema.update()

    def after_epoch(self, epoch: int) -> None:
        """Called by the training loop; nothing follows an epoch."""

    def keep_average(self) -> None:
        """Leave the averaged weights in the network."""
        with self.ema.swapped():
            average = [p.detach().clone() for p in self.parameters()]
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), average, strict=True):
                parameter.copy_(value)


def blurred(features_BE: Tensor, size: float, stream: torch.Generator) -> Tensor:
    """Return features with noise of ``size`` times their length."""
    if not size:
        return features_BE
    drawn = moved(torch.randn(features_BE.shape, generator=stream), features_BE)
    length_B1 = features_BE.norm(dim=-1, keepdim=True)
    return features_BE + size * length_B1 * drawn * features_BE.shape[-1] ** -0.5


def fit(
    generator: PromptGenerator,
    pairs: PromptPairs,
    task_loss: TaskLoss,
    *,
    folder: Path | None = None,
    fingerprint: str = "",
    save_every_s: float = 30.0,
    progress: Progress = NULL,
) -> dict[str, float]:
    """Train on L = CE + beta * own loss (eq. 8); resumable through ``folder``.

    Returns the means of the last epoch's terms, and as statistics what the normaliser measures
    ("normaliser_..."). The averaged (EMA) weights stay in place. A solver that is fitted to them is
    left as it is, see `PromptGenerator.fit_solver`. ``save_every_s`` are the seconds of work that
    a kill may cost.
    """
    measured = generator.normaliser.measure(pairs.initial, pairs.target)
    task = make_task(generator, pairs, task_loss)
    generator.train()
    result = run(
        generator,
        task,
        folder=folder,
        fingerprint=fingerprint,
        save_every_s=save_every_s,
        progress=progress,
    )
    generator.eval()
    return {**result, **measured}


def make_task(generator: PromptGenerator, pairs: PromptPairs, task_loss: TaskLoss) -> FittingTask:
    """Return what the training loop steps: the generator's own task, or the common one."""
    return generator.own_task(pairs, task_loss) or FitTask(generator, pairs, task_loss)


def run(
    generator: PromptGenerator,
    task: FittingTask,
    *,
    folder: Path | None,
    fingerprint: str,
    save_every_s: float,
    progress: Progress,
) -> dict[str, float]:
    """Step ``task`` by the generator's settings and leave the averaged weights in place."""
    spared = generator.no_decay()
    no_decay = {p for name, p in generator.network.named_parameters() if name in spared}
    result = train(
        task,
        generator.optimiser(task.epochs * task.steps_per_epoch),
        epochs=task.epochs,
        steps_per_epoch=task.steps_per_epoch,
        folder=folder,
        fingerprint=fingerprint,
        save_every_s=save_every_s,
        progress=progress,
        label=generator.name,
        no_decay=lambda p: p in no_decay,
    )
    task.keep_average()
    return result


@torch.no_grad()
def quality(owner: PromptGenerator, pairs: PromptPairs, **sampling: Any) -> dict[str, float]:
    """Return how near samples come to V*, and how far they are from each other.

    Both over evenly spaced training images, as shares of the mean squared (or root mean squared)
    distance of V0 to V*: ``generated_mse`` is 1 for the learner's own prompts and 0 for V*;
    ``generated_spread``, the standard deviation over four draws, is 0 for a deterministic
    generator. A spread near 1 with an error near 2 is a fair sample of a wide distribution.
    ``sampling`` are further arguments of `PromptGenerator.sample`.
    """
    count = len(pairs.target)
    at = torch.linspace(0, count - 1, min(QUALITY_IMAGES, count)).round().long()
    features, initial, target = (t[at] for t in (pairs.features, pairs.initial, pairs.target))
    draws = QUALITY_DRAWS if owner.num_noise else 1
    flat_MBF = torch.stack(
        [owner.sample(features, initial, draw=k, **sampling) for k in range(draws)]
    )
    size = (target - initial).square().mean()
    variance = flat_MBF.var(0, correction=1).mean() if draws > 1 else torch.zeros(())
    return {
        "generated_mse": float((flat_MBF[0] - target).square().mean() / size),
        "generated_spread": float((variance / size).sqrt()),
    }
