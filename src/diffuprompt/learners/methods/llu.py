"""LLU (arXiv 2212.06556, CVPR workshop 2023): localized latent updates.

The paper's text is not freely readable and the script of its eleven data sets was not released:
locality and loss are those of the authors' later code (github.com/VCI-RWTH/TrainingTheArchive), the
weight of the loss that of its sibling classes there. Its Adam is with amsgrad, here it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.options import LEARNED, ContextOptions
from diffuprompt.ranges import COUNT, SHARE, TOKENS, WEIGHT, WORDS, Range


@dataclass(frozen=True, kw_only=True)
class LluOptions(ContextOptions):
    """Options of `diffuprompt.learners.llu_learner.LLU`.

    Attributes:
        num_ctx: M, tokens of the hand-written context that may be generated.
        ctx_init: its words.
        gate: share of the update at a centre.
        gamma: how fast the share falls with the distance of the nearest centre.
        pull: weight of the loss that holds the maps near the identity.
        views: random views that image centres are averaged over.
        size: N, training images; training finds it.
        num_classes: K, training classes; training finds it.
    """

    num_ctx: Annotated[int, Range(1, TOKENS.high)] = 4
    ctx_init: Annotated[str, WORDS] = "a photo of a"
    gate: Annotated[float, SHARE] = 0.5
    gamma: Annotated[float, WEIGHT] = 10.0
    pull: Annotated[float, WEIGHT] = 1e4
    views: Annotated[int, Range(1, 10_000)] = 10
    size: Annotated[int, Range(0, 10**9)] = field(default=0, metadata=LEARNED)
    num_classes: Annotated[int, COUNT] = field(default=0, metadata=LEARNED)


_TRAIN = TrainConfig(
    epochs=500,
    batch=65_536,
    lr=1e-3,
    weight_decay=0.0,
    views=10,
    algorithm="adam",
    schedule="constant",
)
_BASE = Preset(
    learner="llu",
    name="base-to-new",
    train=_TRAIN,
    source="github.com/VCI-RWTH/TrainingTheArchive, Embedding.py; numbers from arXiv 2410.20164, "
    "table 7",
    published={"base": 83.48, "new": 74.47, "H": 78.46},
)

METHOD = Method(
    name="llu",
    title="LLU",
    learner="diffuprompt.learners.llu_learner:LLU",
    about="An affine map of each feature space that acts only near what was trained on.",
    options=LluOptions(),
    presets=(
        _BASE,
        _BASE.named("few-shot", published={}),
        Preset(
            learner="llu",
            name="lite",
            train=replace(_TRAIN, epochs=200),
            options={"pull": 100.0},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
)
