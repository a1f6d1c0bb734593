"""CoOp (Zhou et al. 2022, IJCV, arXiv 2109.01134)."""

from __future__ import annotations

from diffuprompt.learners.legacy_keys import CONTEXT
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.options import CoOpOptions

_WORDS = {"num_ctx": 4, "ctx_init": "a photo of a"}
_CROSS = Preset(
    learner="coop",
    name="cross-dataset",
    train=TrainConfig(epochs=50, batch=32, lr=2e-3),
    options=_WORDS,
    source="CoOp as in arXiv 2203.05557, all 1000 classes of ImageNet, 16 shots",
    published={"source": 71.51, "mean": 63.88},
)

METHOD = Method(
    name="coop",
    title="CoOp",
    about="Learn M context vectors, one set for all classes or one a class (CSC).",
    options=CoOpOptions(),
    presets=(
        Preset(
            learner="coop",
            name="base-to-new",
            train=TrainConfig(epochs=200, batch=32, lr=2e-3),
            options=_WORDS,
            source="CoOp as in the CoCoOp benchmark, arXiv 2203.05557 (50 epochs on ImageNet)",
            published={"base": 82.69, "new": 63.22, "H": 71.66},
        ),
        _CROSS,
        _CROSS.named("domain", published={"source": 71.51, "mean": 59.28}),
        Preset(
            learner="coop",
            name="few-shot",
            train=TrainConfig(epochs=200, batch=32, lr=2e-3),
            options={"num_ctx": 16},
            source="arXiv 2109.01134, 16 or 8 shots (4, 2: 100 epochs; 1: 50 epochs)",
            published={"1": 67.56, "2": 70.65, "4": 74.02, "8": 76.98, "16": 79.89},
            fewer_epochs=((2, 50), (8, 100)),
        ),
        Preset(
            learner="coop",
            name="lite",
            train=TrainConfig(epochs=50, batch=32, lr=2e-2, views=10),
            options=_WORDS,
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=CONTEXT,
)
