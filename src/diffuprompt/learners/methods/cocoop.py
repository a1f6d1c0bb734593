"""CoCoOp (Zhou et al. 2022, CVPR, arXiv 2203.05557)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from diffuprompt.learners.legacy_keys import CONTEXT, META_NET
from diffuprompt.learners.method import PAPER, Method, Preset, TrainConfig
from diffuprompt.learners.options import ContextOptions
from diffuprompt.ranges import TOKENS, WORDS, Range


@dataclass(frozen=True, kw_only=True)
class CoCoOpOptions(ContextOptions):
    """Options of `diffuprompt.learners.cocoop_learner.CoCoOp`."""

    num_ctx: Annotated[int, Range(1, TOKENS.high)] = 4
    ctx_init: Annotated[str | None, WORDS] = "a photo of a"


_BASE = Preset(
    learner="cocoop",
    name="base-to-new",
    train=TrainConfig(epochs=10, batch=1, lr=2e-3),
    source="arXiv 2203.05557",
    published={"base": 80.47, "new": 71.69, "H": 75.83},
)

METHOD = Method(
    name="cocoop",
    title="CoCoOp",
    learner="diffuprompt.learners.cocoop_learner:CoCoOp",
    about="One context for all classes, shifted by a small network on the image's feature.",
    options=CoCoOpOptions(),
    presets=(
        _BASE,
        _BASE.named("cross-dataset", published={"source": 71.02, "mean": 65.74}),
        _BASE.named("domain", published={"source": 71.02, "mean": 59.91}),
        _BASE.named(
            "few-shot",
            published={"1": 66.79, "2": 67.65, "4": 71.21, "8": 72.96, "16": 74.90},
        ),
        Preset(
            learner="cocoop",
            name="paper",
            train=replace(PAPER, batch=4),
            options={"num_ctx": 4},
            source="arXiv 2410.20164, section 5.1",
        ),
        Preset(
            learner="cocoop",
            name="lite",
            train=TrainConfig(epochs=10, batch=4, lr=2e-2, views=10),
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=(*CONTEXT, *META_NET),
)
