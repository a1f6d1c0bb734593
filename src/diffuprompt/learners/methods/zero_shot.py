"""Zero-shot CLIP (Radford et al. 2021, arXiv 2103.00020, section 3.1.4)."""

from __future__ import annotations

from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.options import ZeroShotOptions

METHOD = Method(
    name="zero-shot",
    title="Zero-shot CLIP",
    needs_images=False,
    about="CLIP with one template or the average over several.",
    options=ZeroShotOptions(),
    presets=(
        Preset(
            learner="zero-shot",
            name="published",
            train=TrainConfig(epochs=0, batch=32, lr=1.0),
            source="Radford et al. 2021; one template",
            published={"base": 69.34, "new": 74.22, "H": 71.70},
        ),
        Preset(
            learner="zero-shot",
            name="ensemble",
            train=TrainConfig(epochs=0, batch=32, lr=1.0),
            options={"templates": ["imagenet-7"]},
            source="Radford et al. 2021; the seven best of 80 templates, averaged",
        ),
    ),
)
