"""The generators by name, as the command line knows them; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from diffuprompt.generators.config import DiffusionConfig, FitConfig, RivalConfig


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
        whitens: whether it models two or more whitened coordinates, and nothing else.
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
    whitens: bool = False
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def misfits(self, fitting: FitConfig) -> list[str]:
        """Return what of the training does not fit this kind, by the keys of the settings."""
        problems = []
        if fitting.mode == "joint" and not self.joint:
            joint = [name for name, other in KINDS.items() if other.joint]
            problems.append(
                f"fit.mode: joint trains {', '.join(joint)} only, got {self.title}; use two_stage"
            )
        if self.whitens and fitting.normaliser != "whiten":
            problems.append(
                f"fit.normaliser: {self.title} needs 'whiten' (principal coordinates), got "
                f"{fitting.normaliser!r}; leave fit.normaliser out"
            )
        if self.whitens and fitting.rank < 2:
            problems.append(
                f"fit.rank: {self.title} couples coordinates with others, expected 2 or more"
            )
        return problems


def _rival(
    title: str,
    about: str,
    generator: str,
    *reads: str,
    draws_noise: bool = True,
    whitens: bool = False,
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
        whitens=whitens,
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
        whitens=True,
        fit={"normaliser": "whiten"},
    ),
}
