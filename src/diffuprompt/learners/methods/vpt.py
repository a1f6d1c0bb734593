"""Visual prompt tuning on CLIP (Jia et al. 2022, arXiv 2203.12119; as in the MaPLe benchmark).

Unlike the original VPT there is no head to train: prompts stand behind the patches, and the text
tower names the classes, "a photo of a {}." for every data set.
"""

from __future__ import annotations

from diffuprompt.learners.legacy_keys import VISION
from diffuprompt.learners.method import PAPER, Method, Preset, TrainConfig
from diffuprompt.learners.prompt_options import PromptOptions

METHOD = Method(
    name="vpt",
    title="VPT",
    about="Prompt tokens in the image tower only, at every layer (depth 1: shallow).",
    options=PromptOptions(num_ctx=0, vision_ctx=8, vision_depth=12),
    presets=(
        Preset(
            learner="vpt",
            name="base-to-new",
            train=TrainConfig(epochs=5, batch=4, lr=2.5e-3),
            source="github.com/muzairkhattak/multimodal-prompt-learning, VPT deep",
            published={"base": 80.24, "new": 73.43, "H": 76.68},
        ),
        Preset(
            learner="vpt",
            name="shallow",
            train=TrainConfig(epochs=5, batch=4, lr=2.5e-3),
            options={"vision_depth": 1},
            source="the same with prompts at the input only",
        ),
        Preset(
            learner="vpt",
            name="paper",
            train=PAPER,
            options={"vision_ctx": 4, "vision_depth": 1},
            source="arXiv 2410.20164, section 5.1, which gives 4 tokens and no depth",
        ),
        Preset(
            learner="vpt",
            name="lite",
            train=TrainConfig(epochs=5, batch=4, lr=1e-2, views=5),
            options={"vision_depth": 4},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=VISION,
)
