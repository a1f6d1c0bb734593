"""PromptSRC (Khattak et al. 2023b, ICCV, arXiv 2307.06948)."""

from __future__ import annotations

from diffuprompt.learners.legacy_keys import TEXT, VISION
from diffuprompt.learners.method import PAPER, Method, Preset, TrainConfig
from diffuprompt.learners.prompt_options import PromptOptions

_CROSS = Preset(
    learner="promptsrc",
    name="cross-dataset",
    train=TrainConfig(epochs=20, batch=4, lr=2.5e-3),
    options={"depth": 3, "gpa_mean": 6.0, "gpa_std": 10.0},
    source="arXiv 2307.06948, all 1000 classes of ImageNet, 16 shots",
    published={"source": 71.27, "mean": 65.81},
)
_FEW = Preset(
    learner="promptsrc",
    name="few-shot",
    train=TrainConfig(epochs=50, batch=4, lr=2.5e-3),
    options={"gpa_mean": 30.0, "gpa_std": 30.0},
    source="arXiv 2307.06948: ImageNet, Caltech101, Pets, Food101, UCF101, SUN397",
    published={"1": 72.32, "2": 75.29, "4": 78.35, "8": 80.69, "16": 82.87},
)

METHOD = Method(
    name="promptsrc",
    title="PromptSRC",
    about="Independent deep prompts kept near frozen CLIP, and averaged over epochs.",
    options=PromptOptions(
        num_ctx=4, depth=9, text_l1=25.0, image_l1=10.0, kl=1.0, gpa_mean=15.0, gpa_std=1.0
    ),
    presets=(
        Preset(
            learner="promptsrc",
            name="base-to-new",
            train=TrainConfig(epochs=20, batch=4, lr=2.5e-3),
            source="arXiv 2307.06948",
            published={"base": 84.26, "new": 76.10, "H": 79.97},
        ),
        _CROSS,
        _CROSS.named("domain", published={"source": 71.27, "mean": 60.65}),
        _FEW,
        _FEW.named(
            "few-shot-late",
            benchmark="few-shot",
            options={"gpa_mean": 45.0, "gpa_std": 5.0},
            source="arXiv 2307.06948: Cars, Flowers, Aircraft, DTD, EuroSAT",
        ),
        Preset(
            learner="promptsrc",
            name="paper",
            train=PAPER,
            options={"num_ctx": 2, "depth": 9, "gpa_mean": 30.0, "gpa_std": 30.0},
            source="arXiv 2410.20164, section 5.1; the Gaussian over epochs, of which it says "
            "nothing, is arXiv 2307.06948's for 50 epochs",
        ),
        Preset(
            learner="promptsrc",
            name="lite",
            train=TrainConfig(epochs=20, batch=4, lr=2.5e-3, views=5),
            options={"depth": 3},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=(*TEXT, *VISION),
)
