"""CLIP-Adapter (Gao et al. 2024, IJCV, arXiv 2110.04544): a bottleneck on the image feature.

The paper gives batch and rate; optimiser and length are those of the CoOp code it was run in, but
for Adam, without which this rate moves nothing.
"""

from __future__ import annotations

from diffuprompt.learners.legacy_keys import IMAGE_ADAPTER
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.prompt_options import PromptOptions

_FEW = Preset(
    learner="clip-adapter",
    name="few-shot",
    train=TrainConfig(epochs=200, batch=32, lr=1e-5, algorithm="adam"),
    source="arXiv 2110.04544, batch and rate; see the module for the rest",
    fewer_epochs=((2, 50), (8, 100)),
)

METHOD = Method(
    name="clip-adapter",
    title="CLIP-Adapter",
    about="No prompts: a bottleneck network mixed into the image feature.",
    options=PromptOptions(num_ctx=0, vision_ctx=0, image_adapter=0.2),
    templates_in="templates",
    presets=(
        _FEW.named("base-to-new"),
        _FEW,
        Preset(
            learner="clip-adapter",
            name="lite",
            train=TrainConfig(epochs=50, batch=32, lr=3e-3, views=10, algorithm="adam"),
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=IMAGE_ADAPTER,
)
