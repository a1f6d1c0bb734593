"""Every learner in the configurations that contracts run over."""

from __future__ import annotations

from typing import Any

import torch
from tests.contract.towers import NAMES

from diffuprompt.clip.model import Clip
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.learners.base import Learner
from diffuprompt.learners.registry import build_learner

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "zero-shot": ("zero-shot", {}),
    "zero-shot-ensemble": (
        "zero-shot",
        {"templates": ["a photo of a {}.", "{} of a cat", "a dark {}!"]},
    ),
    "coop-random": ("coop", {"num_ctx": 5}),
    "coop-words": ("coop", {"num_ctx": 4, "ctx_init": "a photo of a"}),
    "coop-some-words": ("coop", {"num_ctx": 2, "ctx_init": "a photo of a"}),
    "coop-middle": ("coop", {"num_ctx": 5, "position": "middle"}),
    "coop-front": ("coop", {"num_ctx": 3, "position": "front"}),
    "coop-per-class": ("coop", {"num_ctx": 3, "class_specific": len(NAMES)}),
    "cocoop": ("cocoop", {}),
    "cocoop-random": ("cocoop", {"num_ctx": 2, "ctx_init": None}),
    "probe": ("probe", {}),
}
PROMPTED = tuple(case for case, (name, _) in CASES.items() if name != "zero-shot")
WORDED = ("coop-words", "coop-some-words", "cocoop")  # start as "a photo of a {}."


def build(case: str, clip: Clip, *, moved: bool) -> Learner:
    """Build one case; ``moved`` adds noise to its learnables, as training would."""
    name, options = CASES[case]
    learner = build_learner(name, clip, options, generator=torch_stream(0, "init", case))
    generator = torch_stream(1, "moved", case)
    with torch.no_grad():
        for p in learner.parameters() if moved else ():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return learner
