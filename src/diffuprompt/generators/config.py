"""Settings of overfitting and of generators; no torch, so the command line can list them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffuprompt.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OverfitConfig:
    """Per-sample overfitting (arXiv 2410.20164, section 4).

    Attributes:
        steps: I, gradient steps a sample; the paper's best is 5.
        optimiser: "sgd" without momentum, or "adam".
        lr: step size; 0 calibrates it on training images so that the median cross-entropy falls by
            about ``target_drop`` (the paper gives no rate).
        target_drop: see ``lr``.
        batch: images optimised together; changes nothing but memory and speed.
    """

    steps: int = 5
    optimiser: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.0
    target_drop: float = 0.7
    batch: int = 32

    def __post_init__(self) -> None:
        if self.steps < 0 or self.lr < 0 or not 0 < self.target_drop < 1 or self.batch < 1:
            raise ConfigError(
                "overfit: expected steps >= 0, lr >= 0, 0 < target_drop < 1, batch >= 1, got "
                f"{self}"
            )


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Training of any generator: L = CE + beta * its own loss (arXiv 2410.20164, eq. 8).

    Deviations from the paper, which gives no value or one that hardly trains: targets are
    normalised residuals to the learner's prompts; AdamW instead of SGD at 0.0035; the
    cross-entropy is taken for ``ce_samples`` images of each batch.

    Attributes:
        epochs, batch, lr, weight_decay, ema: training of the network.
        beta: weight of the generator's own loss.
        ce_weight: weight of the cross-entropy; 0 trains on the generator's own loss alone.
        ce_samples: images of a batch that enter the cross-entropy, 0 for all.
        normaliser: a name of `diffuprompt.generators.normalise.NORMALISERS`.
        rank: "whiten" only: principal directions that are kept.
    """

    epochs: int = 50
    batch: int = 32
    lr: float = 5e-4
    weight_decay: float = 0.01
    ema: float = 0.999
    beta: float = 1.0
    ce_weight: float = 1.0
    ce_samples: int = 8
    normaliser: Literal["residual_global", "residual_token", "whiten", "none"] = "residual_global"
    rank: int = 64

    def __post_init__(self) -> None:
        small = [k for k in ("epochs", "batch", "rank") if getattr(self, k) < 1]
        negative = [k for k in ("beta", "ce_weight", "ce_samples") if getattr(self, k) < 0]
        if small or negative:
            raise ConfigError(f"fit: expected at least 1 for {small} and at least 0 for {negative}")


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """Prompt diffusion: the denoising network, its noise and its sampler (arXiv 2410.20164).

    The cross-entropy is taken on the x0 guess at one random time (reference: ProtoDiff).

    Attributes:
        network: "small" (256 wide, 6 layers) or "paper" (512 wide, 12 layers, 16 heads).
        schedule: "linear" (1e-3..0.2, T = 100) or "cosine".
        steps: T.
        ce_max_sigma: guesses at more noise do not enter the cross-entropy; 0 is no limit.
        sampler: a name of `diffuprompt.diffusion.samplers.SAMPLERS`.
        grid: a name of `diffuprompt.diffusion.grids.GRIDS`.
        nfe: points of the grid, which is what a multistep sampler evaluates.
        sigma_start: where sampling starts; the schedule's largest is 221.
    """

    network: Literal["small", "paper"] = "small"
    schedule: Literal["linear", "cosine"] = "linear"
    steps: int = 100
    ce_max_sigma: float = 0.0
    sampler: str = "dpmpp_2m"
    grid: str = "log_snr"
    nfe: int = 5
    sigma_start: float = 80.0

    def __post_init__(self) -> None:
        small = [k for k in ("steps", "nfe") if getattr(self, k) < 1]
        if small:
            raise ConfigError(f"diffusion: expected at least 1 for {small}")


@dataclass(frozen=True, kw_only=True)
class GeneratorKind:
    """What the command line knows of a generator.

    ``section`` names its own settings beside "overfit" and "fit".
    """

    about: str
    section: str
    config: type


KINDS: dict[str, GeneratorKind] = {
    "diffusion": GeneratorKind(
        about="a diffusion model over residuals to the learner's prompts",
        section="diffusion",
        config=DiffusionConfig,
    ),
}
