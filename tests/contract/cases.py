"""Every learner in the configurations that contracts run over."""

from __future__ import annotations

from typing import Any

import torch
from tests.contract.towers import NAMES
from torch import Tensor

from diffuprompt.clip.model import Clip
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods import METHODS
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
    "coop-per-class": ("coop", {"num_ctx": 3, "class_specific": True, "num_classes": len(NAMES)}),
    "cocoop": ("cocoop", {}),
    "cocoop-random": ("cocoop", {"num_ctx": 2, "ctx_init": None}),
    "prograd": ("prograd", {"num_ctx": 2}),
    "vpt": ("vpt", {"vision_ctx": 3, "vision_depth": 2}),
    "deep-language": ("deep-language", {"depth": 2}),
    "ivlp": ("ivlp", {"depth": 2, "vision_ctx": 3, "vision_depth": 1}),
    "maple": ("maple", {"depth": 2}),
    "maple-free": ("maple", {"depth": 2, "free": "both"}),
    "promptsrc": ("promptsrc", {"depth": 2, "num_ctx": 2}),
    "coprompt": ("coprompt", {"depth": 2, "num_ctx": 2}),
    "clip-adapter": ("clip-adapter", {}),
    "tip-adapter": ("tip-adapter", {"views": 2}),
    "tip-adapter-f": ("tip-adapter-f", {"views": 2}),
    "llu": ("llu", {"gate": 0.9, "gamma": 1.0, "pull": 1.0, "views": 2}),
    "clip-lora": ("clip-lora", {}),
    "2sfs": ("2sfs", {}),
    "probe": ("probe", {}),
}
PROMPTED = tuple(
    case
    for case, (name, _) in CASES.items()
    if name == "probe" or METHODS[name].options.generates
    if case != "coop-some-words"  # the slot of "coop-words" with fewer tokens
)
# what renders given prompts instead of being replaced by them
RENDERING = ("family.maps", "adapters", "maps")
WORDED = ("coop-words", "coop-some-words", "cocoop")  # start as "a photo of a {}."


class Shots:
    """Eight training images of the first four classes, as `Learner.start` sees them."""

    def __init__(self, clip: Clip) -> None:
        self.labels = torch.arange(8) % 4
        self.classes = Classes(NAMES[:4])
        self.width = clip.config.embed_dim

    def view(self, view: int) -> Tensor:
        return torch.randn(8, self.width, generator=torch_stream(6, view))


def build(case: str, clip: Clip, *, moved: bool) -> Learner:
    """Build one case; ``moved`` adds noise to its learnables, as training would."""
    name, options = CASES[case]
    learner = build_learner(name, clip, options, generator=torch_stream(0, "init", case))
    learner.start(Shots(clip))
    if name == "2sfs":
        learner.after_epoch(0, 1)  # as after training: rows for the classes of the shots
    generator = torch_stream(1, "moved", case)
    with torch.no_grad():
        for p in learner.parameters() if moved else ():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return learner.to(clip.logit_scale.dtype)  # so that no rounding hides a mistake
