"""Prompt diffusion: a diffusion model over prompt vectors (arXiv 2410.20164).

It sees a `PromptSpec`, flat prompts and image features; which learner they belong to, and what the
task loss is, stays outside.

Legend: B image, E embedding, F flat, N training images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.diffusion.denoiser import make_denoiser
from diffuprompt.diffusion.ema import Ema
from diffuprompt.diffusion.grids import make_grid
from diffuprompt.diffusion.loss import denoising_loss
from diffuprompt.diffusion.samplers import NEEDS_NOISE, get_sampler
from diffuprompt.diffusion.schedule import make_schedule
from diffuprompt.diffusion.token_codec import TokenGroup
from diffuprompt.diffusion.transformer import TokenTransformer, TransformerConfig
from diffuprompt.engine.loop import train
from diffuprompt.engine.optim import Optimiser
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.generators.config import DiffusionConfig
from diffuprompt.generators.normalise import residual_scale
from diffuprompt.prompts import PromptSpec

TaskLoss = Callable[[Tensor, Tensor], Tensor]
"""``task_loss(flat (B, F), index (B,)) -> scalar``: how well prompts serve their images."""


@dataclass(frozen=True, eq=False)
class PromptPairs:
    """Features ``(N, E)``, own prompts V0 ``(N, F)`` and overfitted V* ``(N, F)`` to learn from."""

    features: Tensor
    initial: Tensor
    target: Tensor


class PromptDiffusion(nn.Module):
    """p(prompts given image): residuals to the learner's own prompts, denoised from noise.

    Untrained it returns the learner's own prompts exactly, whatever the sampler. One fixed noise
    vector serves all images of a (data set, seed), so predictions do not depend on the batch.
    """

    scale: Tensor
    noise: Tensor

    def __init__(
        self, spec: PromptSpec, condition_width: int, config: DiffusionConfig, *, seed: int
    ) -> None:
        """Build an untrained generator; ``seed`` gives the initial weights and the fixed noise."""
        super().__init__()
        self.spec, self.config, self.seed = spec, config, seed
        groups = [
            TokenGroup(slot.classes * slot.length, slot.width, slot.tower) for slot in spec.slots
        ]
        self.network = TokenTransformer(
            TransformerConfig.preset(config.network),
            groups,
            condition_width,
            generator=torch_stream(seed, "diffusion", "init"),
        )
        self.schedule = make_schedule(config.schedule, config.steps)
        get_sampler(config.sampler)  # a wrong name fails now, not after training
        self._grid(config.nfe)
        noise = torch.randn(1, spec.size, generator=torch_stream(seed, "diffusion", "test-noise"))
        self.register_buffer("scale", torch.ones(spec.size))
        self.register_buffer("noise", noise)

    def fit(
        self,
        pairs: PromptPairs,
        task_loss: TaskLoss,
        *,
        folder: Path | None = None,
        fingerprint: str = "",
        progress: Progress = NULL,
    ) -> dict[str, float]:
        """Train the network on L = CE + beta * L_diff (eq. 8); resumable through ``folder``.

        Returns the means of the last epoch's terms. The averaged (EMA) weights stay in place.
        """
        self.scale.copy_(residual_scale(self.spec, pairs.initial, pairs.target))
        task = _DiffusionTask(self, pairs, task_loss)
        config = self.config
        steps = task.steps_per_epoch
        spared = self.network.no_decay()
        no_decay = {id(p) for name, p in self.network.named_parameters() if name in spared}
        optimiser = Optimiser(
            kind="adamw",
            lr=config.lr,
            weight_decay=config.weight_decay,
            clip_norm=1.0,
            schedule="cosine",
            warmup_steps=min(100, max(1, steps * config.epochs // 10)),
        )
        self.train()
        result = train(
            task,
            optimiser,
            epochs=config.epochs,
            steps_per_epoch=steps,
            folder=folder,
            fingerprint=fingerprint,
            progress=progress,
            label="diffusion",
            no_decay=lambda p: id(p) in no_decay,
        )
        task.keep_average()
        self.eval()
        return result

    def denoise(self, features_BE: Tensor, generator: torch.Generator | None = None) -> Any:
        """Return ``denoise(x, sigma) -> x0`` in normalised residuals, for these images."""
        return make_denoiser(self.network, self.schedule, features_BE, generator=generator)

    def sample(
        self,
        features_BE: Tensor,
        initial_BF: Tensor,
        *,
        sampler: str | None = None,
        nfe: int | None = None,
    ) -> Tensor:
        """Return generated source prompts ``(B, F)``; differentiable.

        Args:
            features_BE: the images' prompt-free features, the condition pi.
            initial_BF: the learner's own prompts for them, ``(B|1, F)``.
            sampler: another sampler than the configuration's.
            nfe: another number of grid points.
        """
        config, name = self.config, sampler or self.config.sampler
        sigmas = self._grid(nfe or config.nfe)
        x = float(sigmas[0]) * self.noise.expand(features_BE.shape[0], -1)
        # one stream for all rows: an image's prompts must not depend on its neighbours
        extra = {"generator": [torch_stream(self.seed, "sampler")]} if name in NEEDS_NOISE else {}
        z = get_sampler(name)(self.denoise(features_BE), x, sigmas, **extra)
        return initial_BF + self.scale * z

    def _grid(self, nfe: int) -> Tensor:
        start = min(self.config.sigma_start, self.schedule.sigma_max)
        return make_grid(self.config.grid, nfe, self.schedule, sigma_max=start)


class _DiffusionTask:
    """What the training loop steps: data order, times and noise derive from (seed, epoch, step)."""

    def __init__(self, owner: PromptDiffusion, pairs: PromptPairs, task_loss: TaskLoss) -> None:
        self.owner, self.pairs, self.task_loss = owner, pairs, task_loss
        self.target = (pairs.target - pairs.initial) / owner.scale
        self.batch = min(owner.config.batch, len(self.target))
        self.ema = Ema(owner.network.parameters(), owner.config.ema)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.target) // self.batch

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.owner.network.parameters()

    def state(self) -> dict[str, Any]:
        return {"network": self.owner.network.state_dict(), "ema": self.ema.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.owner.network.load_state_dict(state["network"])
        self.ema.load_state(state["ema"])

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        config, seed = self.owner.config, self.owner.seed
        order = torch.randperm(
            len(self.target), generator=torch_stream(seed, "diffusion", "order", epoch)
        )
        index = order[step * self.batch : (step + 1) * self.batch].to(self.target.device)
        generator = torch_stream(seed, "diffusion", "noise", epoch, step)
        denoise = self.owner.denoise(self.pairs.features[index], generator)
        out = denoising_loss(denoise, self.target[index], self.owner.schedule, generator=generator)
        total = config.beta * out.loss
        terms = {"diffusion": out.loss}
        chosen = torch.arange(len(index), device=index.device)
        if config.ce_max_sigma:
            chosen = chosen[out.sigma <= config.ce_max_sigma]
        if config.ce_samples:
            chosen = chosen[: config.ce_samples]  # the order is random already
        if config.ce_weight and len(chosen):
            at = index[chosen]
            guess = self.pairs.initial[at] + self.owner.scale * out.x0[chosen]
            terms["ce"] = self.task_loss(guess, at)
            total = total + config.ce_weight * terms["ce"]
        return {"loss": total, **terms}

    def after_step(self, epoch: int, step: int) -> None:
        self.ema.update()

    def after_epoch(self, epoch: int) -> None:
        """Nothing."""

    def keep_average(self) -> None:
        """Leave the averaged weights in the network."""
        with self.ema.swapped():
            average = [p.detach().clone() for p in self.parameters()]
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), average, strict=True):
                parameter.copy_(value)
