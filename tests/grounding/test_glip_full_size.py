"""GLIP-T(A) at its real widths, with random weights: forward, and one step of prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from diffuprompt.checkpoints import load_clip
from diffuprompt.clip import Clip, sentence_tokens
from diffuprompt.engine import torch_stream
from diffuprompt.grounding.contract import Adaptation, VisualPrompt
from diffuprompt.grounding.detectors.bert import BertConfig
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.glip import Glip, GlipConfig
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.detectors.swin import SwinConfig
from diffuprompt.grounding.masks.condition import pooled_condition
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.settings import GeneratorConfig

CAPTIONS, ROOTS = ("the red cup left of the lamp", "a cup"), ((0, 11), (0, 5))
WORDS = ["the", "red", "cup", "left", "of", "lamp", "a"]


@pytest.fixture
def _drawn_alike() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def one_step(config: GlipConfig, side: int, batch: int, depth: int, length: int) -> GlipDetector:
    """Run forward, boxes and one step of visual and textual prompts, and check what changed."""
    detector = GlipDetector(
        Glip(config), CaptionTokenizer.of_words(WORDS), name="glip-t-a", side=side
    )
    tokens = detector.tokens(CAPTIONS[:batch])
    visual = [
        nn.Parameter(torch.randn(batch, length, w) * 0.02) for w in detector.sites.visual[:depth]
    ]
    textual = [
        nn.Parameter(torch.randn(batch, length, w) * 0.02) for w in detector.sites.textual[:depth]
    ]
    optimiser = torch.optim.AdamW([*visual, *textual], 1e-4)
    given = Adaptation(visual=[VisualPrompt(tokens=p) for p in visual], textual=textual)
    boxes = torch.tensor([[0.1, 0.2, 0.6, 0.9], [0.3, 0.3, 0.7, 0.5]])[:batch] * side
    answer = detector.run(torch.rand(batch, 3, side, side), tokens, given)
    loss = detector.loss(answer, tokens, ROOTS[:batch], boxes)["loss"]
    assert torch.isfinite(loss)
    before = [p.clone() for p in (*visual, *textual)]
    loss.backward()
    optimiser.step()
    for old, new in zip(before, (*visual, *textual), strict=True):
        assert not torch.equal(old, new)
    assert not [n for n, p in detector.module.named_parameters() if p.grad is not None]
    found = detector.detect(answer, tokens, ROOTS[:batch], (side, side))
    assert all(len(one.boxes) <= 100 for one in found)
    assert answer.words.shape[2] == tokens.ids.shape[1]
    return detector


@pytest.mark.usefixtures("_drawn_alike")
def test_the_levels_of_224_pixels_have_1049_anchors() -> None:
    config = GlipConfig(
        swin=SwinConfig(width=4, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1)), channels=16, depth=1,
        bert=BertConfig(vocab_size=32, layers=1, width=8, heads=2, hidden=8),
    )  # fmt: skip
    detector = GlipDetector(Glip(config), CaptionTokenizer.of_words(WORDS), name="x", side=224)
    tokens = detector.tokens(CAPTIONS[:1])
    answer = detector.run(torch.rand(1, 3, 224, 224), tokens)
    assert answer.anchors.counts == (28 * 28, 14 * 14, 7 * 7, 4 * 4, 2 * 2)
    assert sum(answer.anchors.counts) == 1049
    first = answer.anchors.boxes[0].tolist()
    assert first == [3.5 - 31.5, 3.5 - 31.5, 3.5 + 31.5, 3.5 + 31.5]


OTHERS = [(1, 8), (3, 8), (6, 8), (12, 8), (9, 2), (9, 4), (9, 12), (9, 16)]


@pytest.mark.usefixtures("_drawn_alike")
@pytest.mark.parametrize(
    ("depth", "length"), [(9, 8), *(pytest.param(*one, marks=pytest.mark.slow) for one in OTHERS)]
)
def test_full_size_takes_one_step_at_224_pixels(depth: int, length: int) -> None:
    """The paper's depths and lengths on all 12 blocks, 12 layers and 6 dynamic blocks."""
    detector = one_step(GlipConfig(), 224, batch=1, depth=depth, length=length)
    assert detector.sites.visual == (96,) * 2 + (192,) * 2 + (384,) * 6 + (768,) * 2
    assert (len(detector.sites.textual), detector.sites.levels) == (12, (256,) * 5)
    sides = [56] * 2 + [28] * 2 + [14] * 6 + [7] * 2
    assert detector.grids(224, 224) == [(side, side) for side in sides]


@pytest.mark.usefixtures("_drawn_alike")
def test_the_papers_generator_reads_a_vit_b32_and_takes_one_step() -> None:
    """Features of a CLIP at ViT-B/32's shapes for 224 pixels, and the network of 12 layers."""
    small = load_clip("scenes-clip")
    text = replace(
        small.config.text, width=512, layers=12, heads=8, mlp_width=2048, vocab_size=49408,
        context_length=77,
    )  # fmt: skip
    vision = replace(
        small.config.vision, width=768, layers=12, heads=12, mlp_width=3072, image_size=224,
        patch_size=32,
    )  # fmt: skip
    config = replace(small.config, text=text, vision=vision, embed_dim=512)
    clip = Clip(config, small.tokenizer, small.preprocess).freeze()
    with torch.inference_mode():
        condition = pooled_condition(
            clip.vision(torch.rand(1, 3, 224, 224)),
            clip.text(sentence_tokens(clip.tokenizer, ["the red ring"], 77))[0],
        )
    assert condition.widths() == {"pooled": 512}
    settings = GeneratorConfig.preset("paper")
    made = MaskGenerator(settings, condition.widths(), generator=torch_stream(1, "init"))
    masks = torch.zeros(1, 1, 224, 224)
    masks[..., 60:120, 80:160] = 1
    terms = made.losses(
        condition.to(torch.float32), torch.randn(1, 4, 28, 28), masks, torch_stream(1, "noise")
    )
    before = made.dit.out.weight.clone()
    terms["loss"].backward()
    torch.optim.AdamW(made.parameters(), 1e-4).step()
    assert torch.isfinite(terms["loss"])
    assert not torch.equal(before, made.dit.out.weight)
    assert sum(p.numel() for p in made.dit.parameters()) > 30_000_000


@pytest.mark.slow
@pytest.mark.usefixtures("_drawn_alike")
def test_full_size_takes_one_step_at_800_pixels() -> None:
    one_step(GlipConfig(), 800, batch=1, depth=9, length=8)
