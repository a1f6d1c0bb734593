"""Settings of overfitting and of generators; no torch, so the command line can list them.

The allowed values of a field stand in its type, see `diffuprompt.ranges`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from diffuprompt.errors import ConfigError
from diffuprompt.generators.noise_levels import first_step, smallest_sigma
from diffuprompt.ranges import BATCH, EPOCHS, NFE, OVERFIT_STEPS, RATE, WEIGHT, Range, misfits

Sampler = Literal[
    "ddpm", "ddpm_large", "ddim", "euler", "heun", "dpm_solver_2", "dpmpp_2s", "dpmpp_2m",
    "dpmpp_3m", "unipc2", "unipc3", "regress", "x0_feedback", "amed",
]  # fmt: skip


LATER: dict[str, Any] = {"later": True}  # field metadata: came when there were runs without it


def stated(config: Any) -> dict[str, Any]:
    """Return the values of one of the dataclasses below as keys and records name them.

    A field that came later is left out where it has its default, so that what was made before it
    came keeps its name.
    """
    later = {f.name: f.default for f in fields(config) if f.metadata.get("later")}
    return {k: v for k, v in asdict(config).items() if k not in later or v != later[k]}


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError("\n  ".join(problems))


@dataclass(frozen=True, kw_only=True)
class OverfitConfig:
    """Per-sample overfitting (arXiv 2410.20164, section 4).

    Attributes:
        steps: I, gradient steps per sample; the paper's best is 5.
        optimiser: "sgd" without momentum, or "adam".
        lr: step size; 0 calibrates it on training images so that the median cross-entropy falls by
            about ``target_drop`` in 5 steps, whatever ``steps`` is, so that runs with other numbers
            of steps differ in nothing else (the paper gives no rate).
        target_drop: relative fall of the cross-entropy after 5 steps, see ``lr``.
        batch: most images optimised together; changes nothing but memory and speed. 0 takes as
            many as the memory budget of the text path holds.
        negatives: classes beside the true one that enter the cross-entropy: those that zero-shot
            CLIP confuses with it most. 0, or too many, for all.
    """

    steps: Annotated[int, OVERFIT_STEPS] = 5
    optimiser: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Range(0, RATE.high)] = 0.0
    target_drop: Annotated[float, Range(0, 1, above=True, below=True)] = 0.7
    batch: Annotated[int, Range(0, BATCH.high)] = 32
    negatives: int = 0

    def __post_init__(self) -> None:
        _refuse(misfits(self, "overfit"))


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Training of any generator: L = ce_weight * CE + beta * its own loss (2410.20164, eq. 8).

    Deviations from the paper: targets are normalised residuals to the learner's prompts; AdamW
    instead of SGD at 0.0035; no cross-entropy (``tools.choose_recipes --grid options`` makes rows
    with these); where it is asked for, it is taken for ``ce_samples`` images of each batch.

    Attributes:
        mode: "two_stage" trains on overfitted prompts of a finished learner; "joint" lets learner
            and generator move together, and overfits each batch anew from the learner's present
            prompts. Two stages with ``ce_weight`` 0 are the plain diffusion loss.
        recipe: "adamw" with warm-up, cosine and clipping, or "sgd" as the field trains prompts:
            momentum 0.9, one warm-up epoch, no clipping.
        epochs: passes over the training images; 0 are as many as make 800 steps, so that a few
            images train a network as long as many.
        batch, lr, weight_decay, ema: training of the network.
        beta: weight of the generator's own loss.
        ce_weight: weight of the cross-entropy; 0 trains on the generator's own loss alone.
        stop_gradient: joint mode without a normaliser: whether the generator's own loss leaves the
            learner's prompts alone, and the cross-entropy alone moves them. Off, as eq. 8 reads:
            one loss for all that is trained.
        ce_samples: images of a batch that enter the cross-entropy, 0 for all.
        classes: classes that enter the cross-entropy: those of the batch and random others; 0, or
            too many, for all.
        pi: how the condition becomes a token, see `diffuprompt.diffusion.condition.PiNetwork`:
            "meta_net", CoCoOp's bottleneck as in the paper, or "linear".
        condition_noise: size of the Gaussian noise on the image's feature in training, relative to
            the feature (conditioning augmentation, Ho et al. 2021, arXiv 2106.15282), which keeps
            few images from being learned by heart: a condition that has one answer makes sampling
            a regression. Off, because it costs accuracy where draws differ already
            (``docs/results/prompt-diffusion.md``).
        normaliser: a name of `diffuprompt.generators.normalise.NORMALISERS`.
        rank: "whiten" only: principal directions that are kept.
    """

    mode: Literal["two_stage", "joint"] = "two_stage"
    recipe: Literal["adamw", "sgd"] = "adamw"
    epochs: Annotated[int, EPOCHS] = 0
    batch: Annotated[int, BATCH] = 64
    lr: Annotated[float, RATE] = 2e-3
    weight_decay: Annotated[float, WEIGHT] = 0.01
    ema: Annotated[float, Range(0, 1, below=True)] = 0.999
    beta: Annotated[float, WEIGHT] = 1.0
    ce_weight: Annotated[float, WEIGHT] = 0.0
    stop_gradient: bool = field(default=False, metadata=LATER)
    ce_samples: Annotated[int, Range(0, BATCH.high)] = 8
    classes: int = 0
    pi: Literal["meta_net", "linear"] = "linear"
    condition_noise: Annotated[float, Range(0, 1000)] = 0.0
    normaliser: Literal["residual_global", "residual_token", "whiten", "none"] = "residual_global"
    rank: Annotated[int, Range(1, 65_536)] = 64

    def __post_init__(self) -> None:
        _refuse(misfits(self, "fit"))
        problems = []
        if not self.beta and not self.ce_weight:
            problems.append("fit.beta and fit.ce_weight are both 0: there is nothing to train on")
        if self.classes and not self.ce_weight:
            problems.append("fit.classes: these are of the cross-entropy; set fit.ce_weight=1")
        if self.mode == "joint" and not self.ce_weight and self.normaliser != "none":
            problems.append(
                "fit.mode: joint moves the learner by the cross-entropy alone, for its prompts "
                f"cancel out of the targets of normaliser={self.normaliser}; set fit.ce_weight=1"
            )
        if self.stop_gradient and (self.mode != "joint" or self.normaliser != "none"):
            problems.append(
                "fit.stop_gradient: the generator's own loss reaches the learner in fit.mode=joint "
                f"with fit.normaliser=none only, got {self.mode}, {self.normaliser}; leave it out"
            )
        if self.stop_gradient and not self.ce_weight:
            problems.append(
                "fit.stop_gradient: nothing is left to move the learner; set fit.ce_weight=1"
            )
        _refuse(problems)


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """Prompt diffusion: the denoising network, its noise and its sampler (arXiv 2410.20164).

    A cross-entropy, where there is one, is of the x0 guess at one random time (as in ProtoDiff).

    Attributes:
        network: "small" (256 wide, 3 layers) or "paper" (512 wide, 12 layers, 16 heads).
        time_tokens: tokens that carry the noise level, each a map of its own of the frequency code
            (the paper's "individual tokens", whose number it does not give).
        schedule: "linear" (1e-3..0.2, T = 100) or "cosine".
        steps: T.
        prediction: what the network predicts: "x0", "eps", "v", "edm" (EDM's preconditioning) or
            "flow" (the velocity of the straight path).
        noise: density of the noise levels in training: "time" is uniform in the schedule's time,
            "steps" on its integers, "log_normal" EDM's (and flow matching's logit-normal),
            "uniform_u" uniform along the straight path.
        weight: of squared errors in training: "unit" is even on what is predicted, "min_snr" is
            min(SNR, 5) on x0.
        drop_condition: probability of training without the condition, which guidance needs.
        ce_max_sigma: guesses at more noise do not enter the cross-entropy; 0 is no limit.
        sampler: a name of `diffuprompt.diffusion.samplers.SAMPLERS`, or "amed", which is fitted to
            the network after training, for this ``nfe`` only.
        grid: a name of `diffuprompt.diffusion.grids.GRIDS`.
        nfe: evaluations of AMED and of multistep samplers; for others, points of the grid.
        sigma_start: where sampling starts; the schedule's largest is 221. Samples start around
            z = 0, the learner's own prompts, at this distance: 1 or less is a start from them with
            little noise, and then the rest of the noise is not drawn at all.
        guidance: w of D0 + w (D1 - D0), D0 without and D1 with the condition; other than 1 it
            doubles the evaluations.
        ensemble: draws of noise whose prompts are averaged.
    """

    network: Literal["small", "paper"] = "small"
    time_tokens: Annotated[int, Range(1, 64)] = field(default=1, metadata=LATER)
    schedule: Literal["linear", "cosine"] = "linear"
    steps: Annotated[int, Range(1, 10_000)] = 100
    prediction: Literal["x0", "eps", "v", "edm", "flow"] = "x0"
    noise: Literal["time", "steps", "log_normal", "uniform_u"] = "time"
    weight: Literal["unit", "min_snr"] = "unit"
    drop_condition: Annotated[float, Range(0, 1, below=True)] = 0.0
    ce_max_sigma: Annotated[float, Range(0, 1_000_000)] = 0.0
    sampler: Sampler = "dpmpp_2m"
    grid: Literal["polynomial", "log_snr", "time_uniform", "discrete"] = "log_snr"
    nfe: Annotated[int, NFE] = 5
    sigma_start: Annotated[float, Range(0, 1_000_000, above=True)] = 80.0
    guidance: Annotated[float, Range(-1000, 1000)] = 1.0
    ensemble: Annotated[int, Range(1, 1000)] = 1

    def __post_init__(self) -> None:
        _refuse(misfits(self, "diffusion"))
        problems = []
        if self.guidance != 1 and not self.drop_condition:
            problems.append(
                f"diffusion.guidance: {self.guidance:g} needs a network that was trained without "
                "its condition at times; set diffusion.drop_condition, say to 0.1"
            )
        _refuse(problems + self._noise_problems())

    def _noise_problems(self) -> list[str]:
        """Return what of the sampler's way does not fit the schedule."""
        schedule = f"diffusion.schedule={self.schedule} with diffusion.steps={self.steps}"
        if self.schedule == "linear" and self.steps <= 20:
            return [
                "diffusion.steps: diffusion.schedule=linear needs more than 20, got "
                f"{self.steps}; take more, or diffusion.schedule=cosine"
            ]
        least = smallest_sigma(self.schedule, self.steps)
        if self.sigma_start <= least:
            return [
                f"diffusion.sigma_start: expected more than {least:.4g}, the least noise of "
                f"{schedule}, got {self.sigma_start:g}"
            ]
        points = (self.nfe + 1) // 2 + 1 if self.sampler == "amed" else self.nfe
        first = first_step(self.schedule, self.steps, self.sigma_start)
        if self.grid == "discrete" and points > first:
            return [
                f"diffusion.nfe: diffusion.grid=discrete has {first} steps below "
                f"diffusion.sigma_start={self.sigma_start:g} of {schedule}, and nfe={self.nfe} "
                f"asks for {points} of them; take fewer, or another diffusion.grid"
            ]
        return []


@dataclass(frozen=True, kw_only=True)
class RivalConfig:
    """What diffusion is compared with (arXiv 2410.20164, table 4); a rival reads what it needs.

    Attributes:
        size: parameter budget: that of the diffusion network "small" or "paper".
        latent: numbers of the latent code (vae) or of the noise (gan).
        kl_weight: weight of the KL divergence per latent number, reached after half of training.
        temperature: standard deviation of the noise that samples start from; 0 is its mean.
    """

    size: Literal["small", "paper"] = "small"
    latent: Annotated[int, Range(1, 65_536)] = 64
    kl_weight: Annotated[float, WEIGHT] = 1e-2
    temperature: Annotated[float, Range(0, 1000)] = 1.0

    def __post_init__(self) -> None:
        _refuse(misfits(self, "rival"))
