"""Every learner at the shapes of the backbones people use: widths, heads, patches, resolutions.

Two layers instead of 12 or 24, and a vocabulary of a few hundred words, so that a test takes less
than a second; nothing in a learner depends on either. Real towers of other shapes, photo-clip-lite
and scenes-clip, run every learner in tests/contract.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from tests.contract.towers import NAMES, tokenizer

from diffuprompt.clip.config import ClipConfig, TextConfig, VisionConfig
from diffuprompt.clip.model import Clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.data.transforms import Preprocess
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods import METHODS
from diffuprompt.learners.options import settable
from diffuprompt.learners.registry import build_learner

# text width, text heads, vision width, vision heads, patch, embedding; all of 224 x 224
SHAPES = {
    "ViT-B/32": (512, 8, 768, 12, 32, 512),
    "ViT-B/16": (512, 8, 768, 12, 16, 512),
    "ViT-L/14": (768, 12, 1024, 16, 14, 768),
}
# no deeper than these towers, and a teacher of few sentences, to be fast
SMALL = {"depth": 2, "vision_depth": 2, "teacher": "imagenet-7", "views": 1}
COUPLED = ("maple", "coprompt")  # as deep in the image tower as in the text tower


@cache
def backbone(name: str) -> Clip:
    text, heads, vision, vision_heads, patch, embed = SHAPES[name]
    tokens = tokenizer()
    config = ClipConfig(
        embed_dim=embed,
        text=TextConfig(
            width=text, layers=2, heads=heads, mlp_width=4 * text, vocab_size=tokens.vocab_size,
            context_length=77, sot=tokens.sot, eot=tokens.eot, pad=tokens.pad,
        ),
        vision=VisionConfig(
            width=vision, layers=2, heads=vision_heads, mlp_width=4 * vision, image_size=224,
            patch_size=patch,
        ),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Clip(config, tokens, Preprocess(), name=name).freeze()


class OneImage:
    """One training image, as `Learner.start` sees it."""

    def __init__(self, features: torch.Tensor) -> None:
        self.labels, self.classes, self.features = torch.tensor([1]), Classes(NAMES[:2]), features

    def view(self, view: int) -> torch.Tensor:
        return self.features


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_every_learner_trains_and_scores(method: str, name: str) -> None:
    clip, classes = backbone(name), Classes(NAMES[:2])
    pixels = torch.randn(1, 3, 224, 224, generator=torch_stream(0, "pixels"))
    with torch.no_grad():
        features = clip.vision(pixels)
    images = ImageBatch(pixels, torch.tensor([1]), torch.tensor([0]), features, second=features)
    known = {k: v for k, v in SMALL.items() if k in settable(METHODS[method].options)}
    if method in COUPLED:
        del known["vision_depth"]
    learner = build_learner(method, clip, known, generator=torch_stream(0, "init"))
    learner.start(OneImage(features))
    assert all(s.width == getattr(clip.config, s.tower).width for s in learner.spec.slots)
    assert learner.logits(images, classes).shape == (1, 2)
    if not learner.num_trainable():
        return
    if method == "clip-lora":  # starts with products of zero, behind which nothing has a gradient
        for pairs in learner.pairs.values():
            pairs.up.data += 0.01
    learner.loss(images, classes, torch_stream(0, "loss"))["loss"].backward()
    for key, p in learner.named_parameters():
        if key == "rows":  # of 2SFS's second stage, which has not begun
            continue
        assert p.grad is not None, key
        assert float(p.grad.abs().max()) > 0, key
