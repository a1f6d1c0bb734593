"""Settings of overfitting and of prompt diffusion; no torch, so the command line can list them."""

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
class DiffusionConfig:
    """Prompt diffusion: L = CE + beta * L_diff (arXiv 2410.20164, eq. 8) and its sampler.

    Deviations from the paper, which gives no value or one that hardly trains: targets are residuals
    to the learner's prompts divided by their RMS; AdamW instead of SGD at 0.0035; the cross-entropy
    is taken on the x0 guess at one random time, for ``ce_samples`` images of each batch.

    Attributes:
        network: "small" (256 wide, 6 layers) or "paper" (512 wide, 12 layers, 16 heads).
        schedule: "linear" (1e-3..0.2, T = 100) or "cosine".
        steps: T.
        beta: weight of the denoising loss.
        ce_weight: weight of the cross-entropy; 0 trains on the denoising loss alone.
        ce_samples: images of a batch that enter the cross-entropy, 0 for all.
        ce_max_sigma: guesses at more noise do not enter the cross-entropy; 0 is no limit.
        epochs, batch, lr, weight_decay, ema: training of the network.
        sampler: a name of `diffuprompt.diffusion.samplers.SAMPLERS`.
        grid: a name of `diffuprompt.diffusion.grids.GRIDS`.
        nfe: points of the grid, which is what a multistep sampler evaluates.
        sigma_start: where sampling starts; the schedule's largest is 221.
    """

    network: Literal["small", "paper"] = "small"
    schedule: Literal["linear", "cosine"] = "linear"
    steps: int = 100
    beta: float = 1.0
    ce_weight: float = 1.0
    ce_samples: int = 8
    ce_max_sigma: float = 0.0
    epochs: int = 50
    batch: int = 32
    lr: float = 5e-4
    weight_decay: float = 0.01
    ema: float = 0.999
    sampler: str = "dpmpp_2m"
    grid: str = "log_snr"
    nfe: int = 5
    sigma_start: float = 80.0

    def __post_init__(self) -> None:
        small = [k for k in ("steps", "epochs", "batch", "nfe") if getattr(self, k) < 1]
        negative = [k for k in ("beta", "ce_weight", "ce_samples") if getattr(self, k) < 0]
        if small or negative:
            raise ConfigError(
                f"diffusion: expected at least 1 for {small} and at least 0 for {negative}"
            )
