"""Deep language prompting, the text-only ablation of MaPLe (Khattak et al. 2023a, table 1)."""

from __future__ import annotations

from diffuprompt.learners.legacy_keys import TEXT
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.prompt_options import PromptOptions

METHOD = Method(
    name="deep-language",
    title="Deep language",
    about="Prompt tokens in the text tower only, at several layers.",
    options=PromptOptions(num_ctx=4, depth=12, vision_ctx=0),
    presets=(
        Preset(
            learner="deep-language",
            name="base-to-new",
            train=TrainConfig(epochs=5, batch=4, lr=2.5e-3),
            source="github.com/muzairkhattak/multimodal-prompt-learning, language prompting",
            published={"base": 81.72, "new": 73.81, "H": 77.56},
        ),
        Preset(
            learner="deep-language",
            name="lite",
            train=TrainConfig(epochs=5, batch=4, lr=1e-2, views=5),
            options={"depth": 3},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=TEXT,
)
