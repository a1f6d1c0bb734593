"""Settings of overfitting and of generators; no torch, so the command line can list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from diffuprompt.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OverfitConfig:
    """Per-sample overfitting (arXiv 2410.20164, section 4).

    Attributes:
        steps: I, gradient steps a sample; the paper's best is 5.
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

    steps: int = 5
    optimiser: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.0
    target_drop: float = 0.7
    batch: int = 32
    negatives: int = 0

    def __post_init__(self) -> None:
        counts = ("steps", "lr", "batch", "negatives")
        problems = [
            f"overfit.{name}: expected at least 0, got {getattr(self, name)}"
            for name in counts
            if getattr(self, name) < 0
        ]
        if not 0 < self.target_drop < 1:
            problems.append(f"overfit: expected 0 < target_drop < 1, got {self.target_drop}")
        if problems:
            raise ConfigError("\n  ".join(problems))


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Training of any generator: L = ce_weight * CE + beta * its own loss (2410.20164, eq. 8).

    Deviations from the paper, which gives no value or one that hardly trains: targets are
    normalised residuals to the learner's prompts; AdamW instead of SGD at 0.0035; no
    cross-entropy, with which the harmonic mean on held-out base classes was lower
    (``tools.choose_recipes``); where it is asked for, it is taken for ``ce_samples`` images of
    each batch.

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
        ce_samples: images of a batch that enter the cross-entropy, 0 for all.
        classes: classes that enter the cross-entropy: those of the batch and random others; 0, or
            too many, for all.
        pi: how the condition becomes a token, see `diffuprompt.diffusion.condition.PiNetwork`:
            "meta_net", CoCoOp's bottleneck as in the paper, or "linear".
        condition_noise: size of the Gaussian noise on the image's feature in training, relative to
            the feature (conditioning augmentation, Ho et al. 2021, arXiv 2106.15282), which keeps
            few images from being learned by heart: a condition that has one answer makes sampling
            a regression. Off, because it costs accuracy where draws differ already
            (``RESULTS.md``).
        normaliser: a name of `diffuprompt.generators.normalise.NORMALISERS`.
        rank: "whiten" only: principal directions that are kept.
    """

    mode: Literal["two_stage", "joint"] = "two_stage"
    recipe: Literal["adamw", "sgd"] = "adamw"
    epochs: int = 0
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.01
    ema: float = 0.999
    beta: float = 1.0
    ce_weight: float = 0.0
    ce_samples: int = 8
    classes: int = 0
    pi: Literal["meta_net", "linear"] = "linear"
    condition_noise: float = 0.0
    normaliser: Literal["residual_global", "residual_token", "whiten", "none"] = "residual_global"
    rank: int = 64

    def __post_init__(self) -> None:
        small = [k for k in ("batch", "rank") if getattr(self, k) < 1]
        counts = ("epochs", "beta", "ce_weight", "ce_samples", "classes", "condition_noise")
        negative = [k for k in counts if getattr(self, k) < 0]
        problems = [f"fit: expected at least 1 for {small}"] * bool(small)
        problems += [f"fit: expected at least 0 for {negative}"] * bool(negative)
        if not self.beta and not self.ce_weight:
            problems.append("fit.beta and fit.ce_weight are both 0: there is nothing to train on")
        if self.classes and not self.ce_weight:
            problems.append("fit.classes: these are of the cross-entropy; set fit.ce_weight=1")
        if self.mode == "joint" and not self.ce_weight and self.normaliser != "none":
            problems.append(
                "fit.mode: joint moves the learner by the cross-entropy alone, for its prompts "
                f"cancel out of the targets of normaliser={self.normaliser}; set fit.ce_weight=1"
            )
        if problems:
            raise ConfigError("\n  ".join(problems))


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """Prompt diffusion: the denoising network, its noise and its sampler (arXiv 2410.20164).

    A cross-entropy, where there is one, is of the x0 guess at one random time (as in ProtoDiff).

    Attributes:
        network: "small" (256 wide, 3 layers) or "paper" (512 wide, 12 layers, 16 heads).
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
    schedule: Literal["linear", "cosine"] = "linear"
    steps: int = 100
    prediction: Literal["x0", "eps", "v", "edm", "flow"] = "x0"
    noise: Literal["time", "steps", "log_normal", "uniform_u"] = "time"
    weight: Literal["unit", "min_snr"] = "unit"
    drop_condition: float = 0.0
    ce_max_sigma: float = 0.0
    sampler: str = "dpmpp_2m"
    grid: str = "log_snr"
    nfe: int = 5
    sigma_start: float = 80.0
    guidance: float = 1.0
    ensemble: int = 1

    def __post_init__(self) -> None:
        small = [k for k in ("steps", "nfe", "ensemble") if getattr(self, k) < 1]
        problems = [f"diffusion: expected at least 1 for {small}"] if small else []
        if self.ce_max_sigma < 0:
            problems.append(f"diffusion.ce_max_sigma: expected 0 or more, got {self.ce_max_sigma}")
        if not 0 <= self.drop_condition < 1:
            problems.append(
                f"diffusion.drop_condition: expected a value in [0, 1), got {self.drop_condition}"
            )
        if self.guidance != 1 and not self.drop_condition:
            problems.append(
                f"diffusion.guidance: {self.guidance:g} needs a network that was trained without "
                "its condition at times; set diffusion.drop_condition, say to 0.1"
            )
        if problems:
            raise ConfigError("\n  ".join(problems))


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
    latent: int = 64
    kl_weight: float = 1e-2
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.latent < 1 or self.kl_weight < 0 or self.temperature < 0:
            raise ConfigError(
                f"rival: expected latent >= 1, kl_weight >= 0, temperature >= 0, got {self}"
            )


@dataclass(frozen=True, kw_only=True)
class GeneratorKind:
    """What the command line knows of a generator.

    Attributes:
        title: in tables and figures.
        about: one line.
        generator: the class, "module:Class", imported when the first one is built.
        section: its own settings beside "overfit" and "fit".
        config: their dataclass.
        reads: the settings of that section that it reads; others never enter a run.
        sampling: those of ``reads`` that only decide how a trained network is sampled.
        stepwise: whether it samples by steps from noise: then other numbers of evaluations can be
            chosen, and one evaluation of much noise is a regression.
        draws_noise: whether samples of one image differ from draw to draw.
        joint: whether it can be trained together with the learner (``fit.mode``).
        defaults: where it differs from the sections' defaults: section -> key -> value.
    """

    title: str
    about: str
    generator: str
    section: str
    config: type
    reads: tuple[str, ...]
    sampling: tuple[str, ...] = ()
    stepwise: bool = False
    draws_noise: bool = True
    joint: bool = False
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _rival(
    title: str,
    about: str,
    generator: str,
    *reads: str,
    draws_noise: bool = True,
    **defaults: Mapping[str, Any],
) -> GeneratorKind:
    return GeneratorKind(
        title=title,
        about=about,
        generator=generator,
        section="rival",
        config=RivalConfig,
        reads=("size", *reads),
        sampling=tuple(key for key in reads if key == "temperature"),
        draws_noise=draws_noise,
        defaults=defaults,
    )


KINDS: dict[str, GeneratorKind] = {
    "diffusion": GeneratorKind(
        title="diffusion",
        about="a diffusion model over residuals to the learner's prompts",
        generator="diffuprompt.generators.prompt_diffusion:PromptDiffusion",
        section="diffusion",
        config=DiffusionConfig,
        reads=tuple(f.name for f in fields(DiffusionConfig)),
        sampling=("sampler", "grid", "nfe", "sigma_start", "guidance", "ensemble"),
        stepwise=True,
        joint=True,
    ),
    "mlp": _rival(
        "mlp",
        "a perceptron that regresses prompts on the image",
        "diffuprompt.generators.mlp:PromptMlp",
        draws_noise=False,
    ),
    "transformer": _rival(
        "transformer",
        "diffusion's network without noise or time: a regression by queries",
        "diffuprompt.generators.rival_transformer:PromptTransformer",
        draws_noise=False,
    ),
    "gan": _rival(
        "gan",
        "that transformer with noise, against a critic",
        "diffuprompt.generators.gan:PromptGan",
        *("latent", "temperature"),
        rival={"latent": 128},
        fit={"lr": 2e-4},
    ),
    "vae": _rival(
        "vae",
        "a conditional variational autoencoder",
        "diffuprompt.generators.vae:PromptVae",
        *("latent", "kl_weight", "temperature"),
    ),
    "flow": _rival(
        "flow",
        "affine couplings on principal coordinates, conditioned on the image",
        "diffuprompt.generators.flow:PromptFlow",
        "temperature",
        fit={"normaliser": "whiten"},
    ),
}
