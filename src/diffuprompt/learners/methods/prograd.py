"""ProGrad (Zhu et al. 2023, ICCV, arXiv 2205.14865): CoOp with prompt-aligned gradients."""

from __future__ import annotations

from diffuprompt.learners.legacy_keys import SHARED_CONTEXT
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.prompt_options import PromptOptions

_TEACHER = {  # of the authors' code, where it differs from the data set's own (`data.catalog`)
    "oxford_pets": ("a type of pet, a photo of a {}.",),
    "oxford_flowers": ("a type of flower, a photo of a {}.",),
    "fgvc_aircraft": ("a type of aircraft, a photo of a {}.",),
    "dtd": ("a texture of {}.",),
    "food101": ("a type of food, a photo of {}.",),
}

_START = {"zeros": 12, "ctx_init": "a photo of a"}  # of 16 tokens; printed nowhere, released so

METHOD = Method(
    name="prograd",
    title="ProGrad",
    about="A learned context whose updates never go against the zero-shot logits.",
    options=PromptOptions(
        num_ctx=16, ctx_init=None, vision_ctx=0, projection=1.0, teacher="single"
    ),
    templates_in="teacher",
    own_templates=_TEACHER,
    presets=(
        Preset(
            learner="prograd",
            name="base-to-new",
            train=TrainConfig(epochs=100, batch=32, lr=2e-3),
            options=_START,
            source="github.com/BeierZhu/Prompt-align, RN50 and 4 shots (50 epochs on ImageNet)",
        ),
        Preset(
            learner="prograd",
            name="few-shot",
            train=TrainConfig(epochs=200, batch=32, lr=2e-3),
            options=_START,
            source="github.com/BeierZhu/Prompt-align, RN50 (4, 2 shots: 100 epochs; 1: 50; "
            "lambda 0.8 on Flowers102, DTD and EuroSAT with 8 and 16 shots)",
            fewer_epochs=((2, 50), (8, 100)),
        ),
        Preset(
            learner="prograd",
            name="lite",
            train=TrainConfig(epochs=50, batch=32, lr=0.1, views=10),
            options={"num_ctx": 4, "ctx_init": "a photo of a"},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=SHARED_CONTEXT,
)
