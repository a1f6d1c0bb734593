"""Learners of this folder's tests: every method and some settings that are no method's."""

from __future__ import annotations

from typing import Any

import torch
from tests.contract.towers import NAMES, pictures, tiny

from diffuprompt.clip.model import Clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.registry import build_learner

PROMPTSRC_LOSSES = {"text_l1": 25.0, "image_l1": 10.0, "kl": 1.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vpt-shallow": ("vpt", {"vision_depth": 1, "vision_ctx": 3}),
    "vpt-deep": ("vpt", {"vision_depth": 2}),
    "deep-language": ("deep-language", {"depth": 2}),
    "ivlp": ("ivlp", {"depth": 2}),
    "ivlp-uneven": ("ivlp", {"depth": 2, "num_ctx": 3, "vision_ctx": 5, "vision_depth": 1}),
    "maple": ("maple", {"depth": 2}),
    "maple-random": ("maple", {"depth": 1, "num_ctx": 5, "ctx_init": None}),
    "maple-free": ("maple", {"depth": 2, "free": "both"}),
    "maple-promptsrc": ("maple", {"depth": 2, **PROMPTSRC_LOSSES}),
    "promptsrc": ("promptsrc", {"depth": 2}),
    "promptsrc-coupled": ("promptsrc", {"depth": 2, "prompts": "coupled", "num_ctx": 2}),
    "coprompt": ("coprompt", {"depth": 2}),
    "coprompt-mse": ("coprompt", {"depth": 1, "distance": "mse", "consistency": 0.5}),
    "prograd": ("prograd", {"num_ctx": 3}),
    "clip-adapter": ("clip-adapter", {}),
    "tip-adapter": ("tip-adapter", {"views": 2}),
    "tip-adapter-f": ("tip-adapter-f", {"views": 2}),
    "llu": ("llu", {"gamma": 1.0, "views": 2}),
    "clip-lora": ("clip-lora", {}),
    "clip-lora-context": ("clip-lora", {"num_ctx": 3, "ctx_init": None}),
    "2sfs": ("2sfs", {}),
}


class Images:
    """Ten training images of the first four classes, as `Learner.start` sees them."""

    def __init__(self, clip: Clip) -> None:
        self.labels = torch.arange(10) % 4
        self.classes = Classes(NAMES[:4])
        self.size = clip.config.embed_dim

    def view(self, view: int) -> torch.Tensor:
        return torch.randn(10, self.size, generator=torch_stream(5, view)).double()


def build(case: str, clip: Clip, *, moved: bool = True) -> Learner:
    """Build one case in float64; ``moved`` adds noise to its learnables, as training would."""
    name, options = CASES[case]
    learner = build_learner(name, clip, options, generator=torch_stream(0, "init", case))
    learner.start(Images(clip))
    if name == "2sfs":
        learner.after_epoch(0, 1)  # as after training: rows for the classes of the images
    generator = torch_stream(1, "moved", case)
    with torch.no_grad():
        for p in learner.parameters() if moved else ():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return learner.double()


def world(kind: str = "plain-vit", count: int = 3) -> tuple[Clip, ImageBatch, Classes]:
    """A tiny tower in float64, pictures with labels, features and a second view, and classes."""
    clip = tiny(kind, torch.float64)
    images = pictures(clip, count)
    second = torch.randn(images.features.shape, generator=torch_stream(4)).double()
    batch = ImageBatch(images.pixels, images.labels, images.index, images.features, None, second)
    return clip, batch, Classes(NAMES)
