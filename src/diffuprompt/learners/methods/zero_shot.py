"""Zero-shot CLIP (Radford et al. 2021, arXiv 2103.00020, section 3.1.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diffuprompt.clip import ENSEMBLES, SINGLE
from diffuprompt.errors import ConfigError
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.options import Options, around

if TYPE_CHECKING:
    from diffuprompt.clip import Encoder


@dataclass(frozen=True, kw_only=True)
class ZeroShotOptions(Options):
    """Templates, ``{}`` being the class name, or names of `clip.templates.ENSEMBLES`; averaged."""

    templates: list[str] = field(default_factory=lambda: [SINGLE])

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [text for text in self.templates if "{}" not in text and text not in ENSEMBLES]
        if wrong:
            raise ConfigError(
                f"learner.templates: expected texts with {{}} for the name, or some of "
                f"{list(ENSEMBLES)}, got {self.templates}"
            )

    def tokens_ahead(self, tokenizer: Encoder) -> int:
        """Those of the longest template."""
        texts = [t for name in self.templates for t in ENSEMBLES.get(name, (name,))]
        return around(texts, tokenizer)


METHOD = Method(
    name="zero-shot",
    title="Zero-shot CLIP",
    learner="diffuprompt.learners.zero_shot_learner:ZeroShot",
    needs_images=False,
    about="CLIP with one template or the average over several.",
    options=ZeroShotOptions(),
    presets=(
        Preset(
            learner="zero-shot",
            name="published",
            train=TrainConfig(epochs=0, batch=32, lr=1.0),
            source="Radford et al. 2021; one template",
            published={"base": 69.34, "new": 74.22, "H": 71.70},
        ),
        Preset(
            learner="zero-shot",
            name="ensemble",
            train=TrainConfig(epochs=0, batch=32, lr=1.0),
            options={"templates": ["imagenet-7"]},
            source="Radford et al. 2021; the seven best of 80 templates, averaged",
        ),
    ),
)
