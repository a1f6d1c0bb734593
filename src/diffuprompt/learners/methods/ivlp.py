"""Independent vision-language prompting (Khattak et al. 2023b, arXiv 2307.06948, section 3.1)."""

from __future__ import annotations

from diffuprompt.learners.legacy_keys import TEXT, VISION
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.prompt_options import PromptOptions

_SOURCE = "github.com/muzairkhattak/multimodal-prompt-learning, independent V-L prompting"

METHOD = Method(
    name="ivlp",
    title="IVLP",
    about="Prompt tokens in both towers, independent of each other, at several layers.",
    options=PromptOptions(num_ctx=2, depth=12),
    presets=(
        Preset(
            learner="ivlp",
            name="base-to-new",
            train=TrainConfig(epochs=5, batch=4, lr=3.5e-3),
            source=_SOURCE,
            published={"base": 82.15, "new": 74.07, "H": 77.90},
        ),
        Preset(
            learner="ivlp",
            name="long",
            train=TrainConfig(epochs=20, batch=4, lr=2.5e-3),
            options={"num_ctx": 4, "depth": 9},
            source="arXiv 2307.06948, the baseline of PromptSRC",
            published={"base": 84.21, "new": 71.79, "H": 77.51},
        ),
        Preset(
            learner="ivlp",
            name="lite",
            train=TrainConfig(epochs=5, batch=4, lr=1e-2, views=5),
            options={"depth": 3},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=(*TEXT, *VISION),
)
