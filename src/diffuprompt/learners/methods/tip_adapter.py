"""Tip-Adapter and Tip-Adapter-F (Zhang et al. 2022, ECCV, arXiv 2207.09519).

The authors choose alpha and beta on validation images of every data set, and the epoch of
Tip-Adapter-F on test images; here both factors are the paper's defaults and the last epoch counts.
"""

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
from diffuprompt.ranges import COUNT, WEIGHT, Range

if TYPE_CHECKING:
    from diffuprompt.clip import Encoder


@dataclass(frozen=True, kw_only=True)
class TipOptions(Options):
    """Options of `diffuprompt.learners.tip_adapter_learner.TipAdapter`.

    Attributes:
        alpha: weight of the cache.
        beta: how sharply similarity counts.
        views: random views that keys are averaged over.
        tune: whether the keys are learned.
        templates: of the zero-shot logits, averaged; as those of zero-shot CLIP.
        trained_classes: names of the K classes that the cache knows; training finds them.
        size: N, training images; training finds it.
    """

    alpha: Annotated[float, WEIGHT] = 1.0
    beta: Annotated[float, WEIGHT] = 5.5
    views: Annotated[int, Range(1, 10_000)] = 10
    tune: bool = False
    templates: list[str] = field(default_factory=lambda: [SINGLE], metadata=LATER)
    trained_classes: Annotated[list[str], Range(0, COUNT.high)] = field(
        default_factory=list, metadata=LEARNED
    )
    size: Annotated[int, Range(0, 10**9)] = field(default=0, metadata=LEARNED)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(not_templates(self.templates))

    def tokens_ahead(self, tokenizer: Encoder) -> int:
        """Those of the longest template."""
        return around(spelled_out(self.templates), tokenizer)


_LEARNER = "diffuprompt.learners.tip_adapter_learner:TipAdapter"
_CACHE = TrainConfig(epochs=0, batch=256, lr=1e-3, augment="large-crop")
_TUNE = TrainConfig(  # as released: fresh crops, and the smaller last batch counts too
    epochs=20,
    batch=256,
    lr=1e-3,
    weight_decay=0.01,
    augment="large-crop",
    algorithm="adamw",
    schedule="cosine",
    adam_eps=1e-4,
    last_batch="keep",
    unseen_views=True,
)
_TEMPLATES = {"imagenet": ("imagenet-7",)}  # on the others one, the data set's own
_SOURCE = "arXiv 2207.09519; alpha 1, beta 5.5"
_RELEASED = "github.com/gaopengcuhk/Tip-Adapter, main.py; alpha 1, beta 5.5"

METHOD = Method(
    name="tip-adapter",
    title="Tip-Adapter",
    learner=_LEARNER,
    legacy_cache="columns",
    about="No training: logits of the most similar training images are added.",
    options=TipOptions(),
    templates_in="templates",
    own_templates=_TEMPLATES,
    presets=(
        Preset(learner="tip-adapter", name="few-shot", train=_CACHE, source=_SOURCE),
        Preset(learner="tip-adapter", name="base-to-new", train=_CACHE, source=_SOURCE),
        Preset(
            learner="tip-adapter",
            name="lite",
            train=_CACHE,
            options={"alpha": 3.0},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
)
TUNED = Method(
    name="tip-adapter-f",
    title="Tip-Adapter-F",
    learner=_LEARNER,
    legacy_cache="rows",
    about="Tip-Adapter whose cached features are then trained.",
    options=TipOptions(tune=True),
    templates_in="templates",
    own_templates=_TEMPLATES,
    presets=(
        Preset(learner="tip-adapter-f", name="few-shot", train=_TUNE, source=_RELEASED),
        Preset(learner="tip-adapter-f", name="base-to-new", train=_TUNE, source=_RELEASED),
        Preset(
            learner="tip-adapter-f",
            name="lite",
            train=TrainConfig(
                epochs=20,
                batch=64,
                lr=1e-3,
                weight_decay=0.01,
                views=10,
                augment="large-crop",
                algorithm="adamw",
                schedule="cosine",
            ),
            options={"alpha": 3.0},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
)
