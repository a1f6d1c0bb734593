"""Mixed precision: only where prompts are, near fp32, with gradients in fp32."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.contract.towers import NAMES, TINY, pictures, tiny
from torch import Tensor

from diffuprompt.clip.model import Clip, normalize
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import PromptedTokens, class_tokens, sentence_tokens
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import PromptShapeError

IMAGES, TOKENS = 3, 2
# bfloat16 rounds to 2**-9; some ten rounded products per layer, two or three layers, errors adding
# as random ones do: sqrt(30) * 2**-9 is 1 % of a feature's length. Measured: 0.5 to 0.8 %, and
# cosines of gradients above 0.9999.
NEAR = 0.03
PLANS = {
    "whole": TextPlan(),
    "chunked": TextPlan(memory_mib=0),
    "recomputed": TextPlan(recompute=True),
    "truncated": TextPlan(path="truncated"),
}


@pytest.fixture(params=TINY)
def clip(request: pytest.FixtureRequest) -> Iterator[Clip]:
    clip = tiny(request.param, torch.float32)
    clip.set_precision("bf16")
    yield clip
    assert not torch.is_autocast_enabled("cpu")  # whatever a test did, nothing leaks


def drawn(name: str, *shape: int) -> Tensor:
    return (0.3 * torch.randn(shape, generator=torch_stream(0, name))).requires_grad_()


def tokens(clip: Clip, num_ctx: int = TOKENS) -> PromptedTokens:
    length = clip.config.text.context_length
    return class_tokens(
        clip.tokenizer, NAMES, prefix=None, num_ctx=num_ctx, position="end", context_length=length
    )


def text(clip: Clip, classes: int, plan: TextPlan) -> tuple[Tensor, list[Tensor]]:
    """Features under prompts at two layers, and the gradients of a weighted sum of cosines."""
    width = clip.config.text.width
    prompts = {layer: drawn(f"text {layer}", IMAGES, classes, TOKENS, width) for layer in (0, 1)}
    return pulled(clip.text(tokens(clip), prompts, plan), prompts)


def image(clip: Clip) -> tuple[Tensor, list[Tensor]]:
    width = clip.config.vision.width
    prompts = {layer: drawn(f"vision {layer}", IMAGES, TOKENS, width) for layer in (0, 1)}
    return pulled(clip.vision(pictures(clip, IMAGES).pixels, prompts), prompts)


def pulled(features: Tensor, prompts: dict[int, Tensor]) -> tuple[Tensor, list[Tensor]]:
    weights = torch.randn(features.shape, generator=torch_stream(0, "weights"))
    grads = torch.autograd.grad((normalize(features) * weights).sum(), list(prompts.values()))
    return features.detach(), list(grads)


def check_near(mixed: tuple[Tensor, list[Tensor]], full: tuple[Tensor, list[Tensor]]) -> None:
    assert mixed[0].dtype == torch.float32
    error = (mixed[0] - full[0]).norm(dim=-1) / full[0].norm(dim=-1)
    assert 0 < float(error.max()) < NEAR  # not zero: else nothing was rounded
    for got, want in zip(mixed[1], full[1], strict=True):
        assert got.dtype == torch.float32
        assert float(torch.cosine_similarity(got.flatten(), want.flatten(), dim=0)) > 0.99
        assert float(got.norm() / want.norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("classes", [1, len(NAMES)], ids=["shared", "per-class"])
def test_text_with_prompts_is_near(clip: Clip, classes: int, plan: TextPlan) -> None:
    mixed = text(clip, classes, plan)
    clip.set_precision("fp32")
    check_near(mixed, text(clip, classes, plan))


def test_images_with_prompts_are_near(clip: Clip) -> None:
    mixed = image(clip)
    clip.set_precision("fp32")
    check_near(mixed, image(clip))


def test_recomputing_rounds_in_the_same_way(clip: Clip) -> None:
    """The backward pass computes chunks again: in bfloat16 too, or gradients would be others'."""
    whole, again = text(clip, 1, TextPlan()), text(clip, 1, TextPlan(recompute=True))
    assert torch.equal(whole[0], again[0])
    assert all(torch.equal(a, b) for a, b in zip(whole[1], again[1], strict=True))


def test_without_prompts_nothing_is_rounded(clip: Clip) -> None:
    pixels, length = pictures(clip, IMAGES).pixels, clip.config.text.context_length
    sentences = sentence_tokens(clip.tokenizer, ["a photo of a cat.", "a dog"], length)

    def run() -> list[Tensor]:
        grid = clip.vision.stem(pixels)
        return [clip.text(sentences), clip.vision(pixels), clip.vision.from_grid(grid, {})]

    mixed = run()
    clip.set_precision("fp32")
    assert all(torch.equal(a, b) for a, b in zip(mixed, run(), strict=True))


def test_one_tower_does_not_change_the_next(clip: Clip) -> None:
    """Neither a pass nor one that fails leaves its precision behind."""
    pixels = pictures(clip, IMAGES).pixels
    before = clip.vision(pixels)
    image(clip)
    text(clip, 1, TextPlan())
    with pytest.raises(PromptShapeError):
        clip.vision(pixels, {1: drawn("wrong", 1, TOKENS, clip.config.vision.width)})
    assert not torch.is_autocast_enabled("cpu")
    assert torch.equal(clip.vision(pixels), before)
    assert tiny("plain-vit", torch.float32).text.precision == "fp32"  # of one CLIP, not of all
