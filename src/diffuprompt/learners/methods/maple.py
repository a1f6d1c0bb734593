"""MaPLe (Khattak et al. 2023a, CVPR, arXiv 2210.03117)."""

from __future__ import annotations

from diffuprompt.learners.legacy_keys import COUPLED
from diffuprompt.learners.method import PAPER, Method, Preset, TrainConfig
from diffuprompt.learners.prompt_options import PromptOptions

_CROSS = Preset(
    learner="maple",
    name="cross-dataset",
    train=TrainConfig(epochs=2, batch=4, lr=2.6e-3),
    options={"depth": 3},
    source="arXiv 2210.03117, all 1000 classes of ImageNet, 16 shots",
    published={"source": 70.72, "mean": 66.30},
)

METHOD = Method(
    name="maple",
    title="MaPLe",
    about="Deep text prompts whose linear images are the image tower's prompts.",
    options=PromptOptions(prompts="coupled", num_ctx=2, depth=9),
    presets=(
        Preset(
            learner="maple",
            name="base-to-new",
            train=TrainConfig(epochs=5, batch=4, lr=3.5e-3),
            source="arXiv 2210.03117",
            published={"base": 82.28, "new": 75.14, "H": 78.55},
        ),
        _CROSS,
        _CROSS.named("domain", published={"source": 70.72, "mean": 60.27}),
        Preset(
            learner="maple",
            name="paper",
            train=PAPER,
            options={"num_ctx": 2, "depth": 9},
            source="arXiv 2410.20164, section 5.1",
        ),
        Preset(
            learner="maple",
            name="lite",
            train=TrainConfig(epochs=5, batch=4, lr=3.5e-3, views=5),
            options={"depth": 3},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=COUPLED,
)
