"""ProLIP (Fahes et al. 2024, arXiv 2410.05270): the image projection, pulled to its start."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.methods.zero_shot import ZeroShotOptions
from diffuprompt.learners.options import LEARNED
from diffuprompt.ranges import WEIGHT

NAME = "prolip"


@dataclass(frozen=True, kw_only=True)
class ProLipOptions(ZeroShotOptions):
    """Options of `diffuprompt.learners.prolip_learner.ProLip`.

    Attributes:
        pull: weight of the squared distance to the start, the paper's lambda; null: 1 / shots.
        shots: pictures of a class, on average; training finds it.
    """

    pull: Annotated[float | None, WEIGHT] = None
    shots: Annotated[float, WEIGHT] = field(default=0.0, metadata=LEARNED)


_FEW = Preset(
    learner=NAME,
    name="few-shot",
    train=TrainConfig(
        epochs=300,
        batch=65_536,  # the whole set: an epoch is a step
        lr=1e-5,
        weight_decay=0.0,
        views=300,
        augment="large-crop",
        algorithm="adam",
        adam_eps=1e-4,
        schedule="cosine",
    ),
    source="github.com/astra-vision/ProLIP: Adam, eps 1e-4, a cosine by steps; crops are ours",
)

METHOD = Method(
    name=NAME,
    title="ProLIP",
    learner="diffuprompt.learners.prolip_learner:ProLip",
    about="The image tower's last projection is trained and pulled to where it started.",
    options=ProLipOptions(),
    templates_in="templates",
    presets=(
        _FEW,
        _FEW.named("base-to-new", published={"base": 84.01, "new": 73.86, "H": 78.61}),
        Preset(
            learner=NAME,
            name="lite",
            train=replace(_FEW.train, lr=1e-4, views=10, adam_eps=TrainConfig.adam_eps),
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
)
