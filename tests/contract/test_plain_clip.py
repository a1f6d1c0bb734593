"""Without prompts, every learner is CLIP."""

from __future__ import annotations

import pytest
import torch
from tests.contract import direct
from tests.contract.cases import WORDED, build
from tests.contract.towers import NAMES

from diffuprompt.clip.tokens import sentence_tokens
from diffuprompt.learners.registry import build_learner

# float64 rounding; words are stored as float32, which is exact for these towers' weights.
EXACT = {"rtol": 0, "atol": 1e-9}


def zero_shot(clip, images, classes, template):
    return build_learner("zero-shot", clip, {"templates": [template]}).logits(images, classes)


def test_towers_without_prompts_are_the_plain_formulas(clip, images):
    texts = [f"a photo of a {name}." for name in NAMES]
    tokens = sentence_tokens(clip.tokenizer, texts, clip.config.text.context_length)
    got = clip.text(tokens)
    want = direct.text_features(clip, direct.sentence_rows(clip, texts), {})
    torch.testing.assert_close(got, want, **EXACT)
    want = direct.image_features(clip, images.pixels, {})
    torch.testing.assert_close(images.features, want, **EXACT)


@pytest.mark.parametrize("case", WORDED)
def test_untrained_words_are_the_template(case, clip, images, classes):
    """CoOp before training, and CoCoOp without its shift, are zero-shot CLIP."""
    learner = build(case, clip, moved=False)
    if learner.name == "cocoop":
        with torch.no_grad():
            for p in learner.meta_net.linear2.parameters():
                p.zero_()
    want = zero_shot(clip, images, classes, "a photo of a {}.")
    torch.testing.assert_close(learner.logits(images, classes), want, **EXACT)


@pytest.mark.parametrize(
    ("position", "template"),
    [("end", "a photo of a {}."), ("middle", "a photo {} of a."), ("front", "{} a photo of a.")],
)
@pytest.mark.parametrize("own", [{}, {"class_specific": True, "num_classes": len(NAMES)}])
def test_untrained_words_at_every_position(position, template, own, clip, images, classes):
    options = {"num_ctx": 4, "ctx_init": "a photo of a", "position": position}
    learner = build_learner("coop", clip, {**options, **own})
    want = zero_shot(clip, images, classes, template)
    torch.testing.assert_close(learner.logits(images, classes), want, **EXACT)
