"""Zero-shot CLIP (Radford et al. 2021, arXiv 2103.00020, section 3.1.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diffuprompt.clip import SINGLE
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.options import Options, around, not_templates, refuse, spelled_out

if TYPE_CHECKING:
    from diffuprompt.clip import Encoder


@dataclass(frozen=True, kw_only=True)
class ZeroShotOptions(Options):
    """Templates, ``{}`` being the class name, or names of `clip.templates.ENSEMBLES`; averaged."""

    templates: list[str] = field(default_factory=lambda: [SINGLE])

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(not_templates(self.templates))

    def tokens_ahead(self, tokenizer: Encoder) -> int:
        """Those of the longest template."""
        return around(spelled_out(self.templates), tokenizer)


METHOD = Method(
    name="zero-shot",
    title="Zero-shot CLIP",
    learner="diffuprompt.learners.zero_shot_learner:ZeroShot",
    needs_images=False,
    about="CLIP with each data set's own template, or the average over several.",
    templates_in="templates",
    options=ZeroShotOptions(),
    presets=(
        Preset(
            learner="zero-shot",
            name="published",
            train=TrainConfig(epochs=0, batch=32, lr=1.0),
            source="Radford et al. 2021; each data set's template as in arXiv 2203.05557",
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
