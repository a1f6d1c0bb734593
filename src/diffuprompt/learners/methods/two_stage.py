"""2SFS (Farina et al. 2025, CVPR, arXiv 2503.11609): two-stage few-shot adaptation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from diffuprompt.clip import SINGLE
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.options import (
    LATER,
    LEARNED,
    Options,
    around,
    not_templates,
    refuse,
    spelled_out,
)
from diffuprompt.ranges import COUNT, Range

if TYPE_CHECKING:
    from diffuprompt.clip import Encoder


@dataclass(frozen=True, kw_only=True)
class TwoStageOptions(Options):
    """Options of `diffuprompt.learners.two_stage_learner.TwoStage`.

    Attributes:
        templates: sentences of a class, averaged; the authors use one.
        trained_classes: names of the K classes that have a row; training finds them.
    """

    templates: list[str] = field(default_factory=lambda: [SINGLE], metadata=LATER)
    trained_classes: Annotated[list[str], Range(0, COUNT.high)] = field(
        default_factory=list, metadata=LEARNED
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(not_templates(self.templates))

    def tokens_ahead(self, tokenizer: Encoder) -> int:
        """Those of the longest template."""
        return around(spelled_out(self.templates), tokenizer)


_BASE = Preset(
    learner="2sfs",
    name="base-to-new",
    train=TrainConfig(
        epochs=192,
        batch=32,
        lr=2e-4,
        weight_decay=1e-2,
        algorithm="adamw",
        schedule="two-stage",
    ),
    steps_per_shot=300,
    source="arXiv 2503.11609: 300 steps per shot, the first 60 % of them on norms",
    published={"base": 85.55, "new": 75.48, "H": 80.20},
)

METHOD = Method(
    name="2sfs",
    title="2SFS",
    learner="diffuprompt.learners.two_stage_learner:TwoStage",
    about="All norms of both towers first, then a classifier that starts as the tuned text.",
    options=TwoStageOptions(),
    templates_in="templates",
    presets=(
        _BASE,
        _BASE.named("few-shot", published={}),
        Preset(
            learner="2sfs",
            name="lite",
            train=TrainConfig(
                epochs=40,
                batch=32,
                lr=1e-3,
                weight_decay=1e-2,
                views=4,
                algorithm="adamw",
                schedule="two-stage",
            ),
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
)
