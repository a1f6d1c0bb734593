"""Prompt diffusion: a diffusion model over prompt vectors (arXiv 2410.20164).

Legend: B image, E embedding, F flat, Z normalised coordinate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import (
    NEEDS_FIT,
    NEEDS_NOISE,
    AmedPredictor,
    Denoise,
    Sampler,
    Start,
    TokenTransformer,
    TransformerConfig,
    denoising_loss,
    fit_amed,
    get_sampler,
    make_denoiser,
    make_grid,
    make_schedule,
    plan,
)
from diffuprompt.engine import NULL, Progress, sent, torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import DiffusionConfig, FitConfig
from diffuprompt.generators.types import TrainingLoss
from diffuprompt.prompts import PromptSpec

HIDING = 80.0  # sigma at which unit data are 0.02 % of the variance
AMED_IMAGES, AMED_BATCH = 64, 8  # enough for a few hundred numbers; an update looks at one batch


class PromptDiffusion(PromptGenerator):
    """Residuals to the learner's own prompts, denoised from noise."""

    name = "diffusion"
    network: TokenTransformer
    config: DiffusionConfig

    def __init__(
        self,
        spec: PromptSpec,
        condition_width: int,
        config: DiffusionConfig,
        fitting: FitConfig,
        *,
        seed: int,
        scope: str = "",
    ) -> None:
        """Build an untrained generator; see `PromptGenerator` for the arguments."""
        super().__init__(spec, condition_width, config, fitting, seed=seed, scope=scope)
        self.fix_noise(self.normaliser.size)
        self.network = TokenTransformer(
            TransformerConfig.preset(
                config.network,
                pi=fitting.pi,
                null=config.drop_condition > 0,
                time_tokens=config.time_tokens,
            ),
            self.normaliser.groups,
            condition_width,
            generator=torch_stream(seed, "diffusion", "init"),
        )
        self.schedule = make_schedule(config.schedule, config.steps)
        self.solvers = nn.ModuleDict()  # of AMED: number of evaluations -> what was fitted for it
        if self.solver() is None:
            get_sampler(config.sampler)  # a wrong name fails now, not after training
        self._grid(config.sampler, config.nfe)

    def denoise(
        self,
        condition: Tensor,
        generator: torch.Generator | None = None,
        *,
        guidance: float = 1.0,
        keep_B: Tensor | None = None,
    ) -> Denoise:
        """Return ``denoise(x, sigma) -> x0`` in normalised coordinates; see `make_denoiser`."""
        return make_denoiser(
            self.network,
            self.schedule,
            condition,
            prediction=self.config.prediction,
            guidance=guidance,
            keep_B=keep_B,
            generator=generator,
        )

    def training_loss(
        self, z_BZ: Tensor, features_BE: Tensor, stream: torch.Generator
    ) -> TrainingLoss:
        """Return the denoising loss at random noise; guesses at too much noise are not usable.

        Guesses without a condition are put before the task loss like all others.
        """
        config, keep = self.config, None
        if config.drop_condition:
            drawn = torch.rand(len(z_BZ), generator=stream) >= config.drop_condition
            keep = sent(drawn, z_BZ.device)
        out = denoising_loss(
            self.denoise(features_BE, stream, keep_B=keep),
            z_BZ,
            self.schedule,
            generator=stream,
            noise=config.noise,
            prediction=config.prediction,
            weight=config.weight,
        )
        limit = config.ce_max_sigma
        return TrainingLoss(out.loss, out.x0, out.sigma <= limit if limit else None)

    def generate(
        self,
        features_BE: Tensor,
        draw: int = 0,
        *,
        sampler: str | None = None,
        nfe: int | None = None,
    ) -> Tensor:
        """Return normalised prompts ``(B, Z)``; differentiable.

        Args:
            features_BE: the condition.
            draw: see `PromptGenerator.sample`; of an ensemble, which of the disjoint ensembles.
            sampler: another sampler than the configuration's.
            nfe: another number of grid points.

        Raises:
            ConfigError: AMED was not fitted for ``nfe``, be it for one with the same grid: an odd
                number does without the first evaluation of the even one above it.
        """
        name, size = sampler or self.config.sampler, self.config.ensemble
        nfe = nfe or self.config.nfe
        if name in NEEDS_FIT and str(nfe) not in self.solvers:
            fitted = ", ".join(self.solvers) or "none"
            raise ConfigError(
                f"nfe: {name} was fitted for these numbers of evaluations: {fitted}; got {nfe}. "
                "Take another sampler, or fit it again for that number"
            )
        sigmas = self._grid(name, nfe)
        draws = range(draw * size, (draw + 1) * size)
        solver = self.solvers[str(nfe)] if name in NEEDS_FIT else None
        each = [self._carry(features_BE, k, name, sigmas, solver) for k in draws]
        return each[0] if size == 1 else torch.stack(each).mean(0)

    def _carry(
        self,
        condition: Tensor,
        draw: int,
        name: str,
        sigmas: Tensor,
        solver: nn.Module | None = None,
    ) -> Tensor:
        """Carry one draw of noise down the grid, with the sampler of a name or a fitted one."""
        x = float(sigmas[0]) * self.draw_noise(draw).expand(condition.shape[0], -1)
        # one stream for all rows: an image's prompts must not depend on its neighbours
        stream = torch_stream(self.seed, "sampler", *([draw] if draw else []))
        extra = {"generator": [stream]} if name in NEEDS_NOISE else {}
        denoise = self.denoise(condition, guidance=self.config.guidance)
        carry: Sampler = solver or get_sampler(name)
        return carry(denoise, x, sigmas, **extra)

    def sample(
        self,
        features_BE: Tensor,
        initial_BF: Tensor,
        *,
        draw: int = 0,
        sampler: str | None = None,
        nfe: int | None = None,
    ) -> Tensor:
        """Return generated source prompts ``(B, F)``; arguments as in `generate`."""
        z_BZ = self.generate(features_BE, draw, sampler=sampler, nfe=nfe)
        return self.normaliser.decode(z_BZ, initial_BF)

    def regression(self, features_BE: Tensor, initial_BF: Tensor) -> Tensor:
        """Return E[V*|pi] ``(B, F)``: one evaluation, from noise that hides everything but pi.

        Not `regress`, which asks at x = 0: the network never saw such a state in training. One draw
        from sigma 80 or more, also where samples start from less noise or are averaged.
        """
        sigmas = self._grid("euler", 1, least=HIDING)
        z_BZ = self._carry(features_BE, 0, "euler", sigmas)
        return self.normaliser.decode(z_BZ, initial_BF)

    def solver(self, nfe: int | None = None) -> nn.Module | None:
        """Return AMED's pairs for ``nfe`` evaluations where AMED is the sampler, made if needed."""
        if self.config.sampler not in NEEDS_FIT:
            return None
        nfe = nfe or self.config.nfe
        if str(nfe) not in self.solvers:
            made = AmedPredictor(
                self._grid(self.config.sampler, nfe),
                afs=plan(nfe)[1],
                generator=torch_stream(self.seed, self.name, "amed-init"),
            )
            self.solvers[str(nfe)] = made.to(self.noise)
        return self.solvers[str(nfe)]

    @property
    def fitted_for(self) -> tuple[int, ...]:
        """Numbers of evaluations for which AMED has pairs."""
        return tuple(sorted(map(int, self.solvers)))

    def fit_solver(
        self,
        features: Tensor,
        *,
        nfe: int | None = None,
        folder: Path | None = None,
        fingerprint: str = "",
        save_every_s: float = 30.0,
        progress: Progress = NULL,
    ) -> dict[str, float]:
        """Fit AMED, where it is the sampler, to the network as it is now; see `PromptGenerator`.

        On up to 64 training images, each with noise of its own, so that any draw is served.
        """
        nfe = nfe or self.config.nfe
        self.solvers.pop(str(nfe)) if str(nfe) in self.solvers else None  # again gives the same
        solver = self.solver(nfe)
        if not isinstance(solver, AmedPredictor):
            return {}
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.network.requires_grad_(False)
        try:
            return fit_amed(
                solver,
                self._starts(features, nfe),
                folder=folder,
                fingerprint=fingerprint,
                save_every_s=save_every_s,
                progress=progress,
            )
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    def _starts(self, features: Tensor, nfe: int) -> list[Start]:
        """Return batches of images with noise, from where AMED and its teacher both start."""
        at = torch.linspace(0, len(features) - 1, min(AMED_IMAGES, len(features))).round().long()
        stream = torch_stream(self.seed, self.name, "amed-noise")
        drawn = torch.randn(len(at), self.num_noise, generator=stream).to(self.noise)
        x = float(self._grid(self.config.sampler, nfe)[0]) * drawn
        parts = torch.arange(len(at)).split(AMED_BATCH)
        guidance = self.config.guidance
        return [(self.denoise(features[at[i]], guidance=guidance), x[i]) for i in parts]

    @classmethod
    def upgrade(cls, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of an artifact of 0.1, whose one AMED was called "amed"."""
        old, new = "amed.", f"solvers.{config['nfe']}."
        return {
            new + name.removeprefix(old) if name.startswith(old) else name: tensor
            for name, tensor in tensors.items()
        }

    def no_decay(self) -> frozenset[str]:
        """Return the names of biases, norms and positions."""
        return self.network.no_decay()

    def _grid(self, sampler: str, nfe: int, *, least: float = 0.0) -> Tensor:
        start = min(max(self.config.sigma_start, least), self.schedule.sigma_max)
        points = plan(nfe)[0] if sampler in NEEDS_FIT else nfe
        return make_grid(self.config.grid, points, self.schedule, sigma_max=start)
