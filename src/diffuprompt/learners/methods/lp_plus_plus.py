"""LP++ (Huang et al. 2024, CVPR, arXiv 2404.02285): a probe blended with text, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.methods.class_rows import ClassRowsOptions
from diffuprompt.ranges import WEIGHT, Range

NAME = "lp++"


@dataclass(frozen=True, kw_only=True)
class LpPlusPlusOptions(ClassRowsOptions):
    """Options of `diffuprompt.learners.lp_plus_plus_learner.LpPlusPlus`.

    Attributes:
        alpha: what the mean cosine of images with their own class is multiplied by, for the first
            value of all multipliers.
        steps: rounds of block coordinate descent.
        views: random views of the images; each counts as an image.
    """

    alpha: Annotated[float, WEIGHT] = 250.0
    steps: Annotated[int, Range(0, 100_000)] = 300
    views: Annotated[int, Range(1, 10_000)] = 1


_FEW = Preset(
    learner=NAME,
    name="few-shot",
    train=TrainConfig(epochs=0, batch=256, lr=1.0, augment="large-crop"),
    source="arXiv 2404.02285, sections 3 and 4; see the learner for what is ours",
)

METHOD = Method(
    name=NAME,
    title="LP++",
    learner="diffuprompt.learners.lp_plus_plus_learner:LpPlusPlus",
    about="A linear probe beside text features, blended class by class; step sizes are bounds.",
    options=LpPlusPlusOptions(),
    templates_in="templates",
    presets=(
        _FEW,
        _FEW.named("base-to-new"),
        Preset(
            learner=NAME,
            name="lite",
            train=_FEW.train,
            options={"alpha": 25.0, "steps": 1000, "views": 4},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
)
