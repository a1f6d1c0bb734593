"""Conditions of generators: image features with the nearest classes' texts."""

from __future__ import annotations

import pytest
import torch
from tests.contract.towers import NAMES, pictures, tiny

from diffuprompt.clip.model import normalize
from diffuprompt.clip.text import TextPlan
from diffuprompt.errors import ConfigError
from diffuprompt.learners.class_text import Condition
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.registry import build_learner


@pytest.fixture(scope="module")
def clip():
    return tiny()


@pytest.fixture(scope="module")
def features(clip):
    return pictures(clip, 5).features


def test_without_texts_features_pass_untouched(clip, features):
    assert Condition(clip, 0, TextPlan())(features, Classes(NAMES)) is features


def test_texts_are_those_that_zero_shot_scores_highest(clip, features):
    classes = Classes(NAMES)
    out = Condition(clip, 3, TextPlan())(features, classes)
    assert out.shape == (5, 4, features.shape[1])
    assert out.dtype == features.dtype
    assert torch.equal(out[:, 0], features)
    learner = build_learner("zero-shot", clip, {"templates": ["a photo of a {}."]})
    logits = learner.logits(pictures(clip, 5), classes)
    text = normalize(learner.static_text(classes)[0])
    for row, scores in zip(out, logits, strict=True):
        want = text[scores.argsort(descending=True)[:3]]
        # The teacher keeps its texts in float32.
        torch.testing.assert_close(row[1:], want.to(row), rtol=0, atol=1e-6)


def test_the_order_of_classes_does_not_matter_but_the_list_does(clip, features):
    condition = Condition(clip, 2, TextPlan())
    out = condition(features, Classes(NAMES))
    # float32 rounding: a shared prefix or another bucket of lengths
    torch.testing.assert_close(condition(features, Classes(NAMES[::-1])), out, rtol=0, atol=1e-6)
    assert not torch.allclose(condition(features, Classes(("fox", "cup", "tin"))), out)


def test_too_few_classes_are_an_error_that_names_the_option(clip, features):
    with pytest.raises(ConfigError, match=r"diffusion\.text_tokens: .*7 classes .* only 6"):
        Condition(clip, 7, TextPlan())(features, Classes(NAMES))
