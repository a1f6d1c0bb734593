"""A linear probe that starts from the text tower's weights.

Its start is that of "ZS-LP" (Silva-Rodriguez et al. 2024, CVPR, arXiv 2312.12730), where a probe
that starts from noise is far worse with few images. No script of theirs was run: optimiser and
length are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.methods.class_rows import ClassRowsOptions

NAME = "linear-probe"


@dataclass(frozen=True, kw_only=True)
class LinearProbeOptions(ClassRowsOptions):
    """Options of `diffuprompt.learners.linear_probe_learner.LinearProbe`."""


_FEW = Preset(
    learner=NAME,
    name="few-shot",
    train=TrainConfig(
        epochs=200,
        batch=256,
        lr=1e-3,
        weight_decay=0.01,
        views=10,
        augment="large-crop",
        algorithm="adamw",
        schedule="cosine",
    ),
    source="the start of arXiv 2312.12730 (ZS-LP); optimiser and length are ours",
)

METHOD = Method(
    name=NAME,
    title="Linear probe",
    learner="diffuprompt.learners.linear_probe_learner:LinearProbe",
    about="A linear classifier of image features that starts from the text features.",
    options=LinearProbeOptions(),
    templates_in="templates",
    presets=(
        _FEW,
        _FEW.named("base-to-new"),
        Preset(
            learner=NAME,
            name="lite",
            train=TrainConfig(
                epochs=50,
                batch=64,
                lr=1e-2,
                weight_decay=0.01,
                views=10,
                augment="large-crop",
                algorithm="adamw",
                schedule="cosine",
            ),
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
)
