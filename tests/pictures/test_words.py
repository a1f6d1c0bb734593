"""Nearest words: a word's own vector, its unit of distance, and what no word can be said of."""

from __future__ import annotations

import pytest
import torch
from tests.contract.towers import tower

from diffuprompt.learners.registry import build_learner
from diffuprompt.pictures.words import nearest_words, whole_words
from diffuprompt.prompts import Prompts, PromptSpec, Slot

CLIP = tower("plain-vit", torch.float32)
WORDS = whole_words(CLIP.tokenizer)
WIDTH = CLIP.config.text.width


def spec(length: int, classes: int = 1) -> PromptSpec:
    slot = Slot(name="text.0", tower="text", layer=0, length=length, width=WIDTH, classes=classes)
    return PromptSpec((slot,))


def test_a_words_own_vector_is_that_word_and_zeros_have_none() -> None:
    learner = build_learner("prograd", CLIP, {"num_ctx": 3, "zeros": 1, "ctx_init": "photo of"})
    found = nearest_words(CLIP, learner.spec, learner.prompts(torch.zeros(1, 1)))
    nothing, photo, of = found.tokens
    assert nothing == ()
    assert (photo[0].word, of[0].word) == ("photo", "of")
    for (first, second, _), line in zip((photo, of), found.lines()[1:], strict=True):
        assert first.cosine == pytest.approx(1, abs=1e-5)
        assert first.distance == pytest.approx(0, abs=1e-3)  # a difference of squares, in float32
        assert second.cosine < 0.9
        assert f"{first.word} (+1.00, 0.00)" in line


def test_the_unit_is_the_distance_of_two_random_words() -> None:
    ids = torch.tensor(list(WORDS))[:12]
    vectors = CLIP.text.embed(ids)[None, None]
    found = nearest_words(CLIP, spec(12), Prompts({"text.0": vectors}), most=len(WORDS))
    distances = [near.distance for token in found.tokens for near in token[1:]]
    assert torch.tensor(distances).median() == pytest.approx(1, rel=0.05)  # of some 300 pairs


def test_of_class_specific_contexts_that_of_the_class_is_shown() -> None:
    names = [name for name in WORDS.values() if len(name) > 1]
    vectors = CLIP.text.embed(torch.tensor([i for i, n in WORDS.items() if n in names]))
    prompts = Prompts({"text.0": vectors[None, :, None]})
    for label, name in enumerate(names):
        found = nearest_words(CLIP, spec(1, len(names)), prompts, label=label)
        assert found.tokens[0][0].word == name


def test_what_does_not_live_among_words_is_said() -> None:
    learner = build_learner("ivlp", CLIP, {"depth": 2})
    found = nearest_words(CLIP, learner.spec, learner.prompts(torch.zeros(1, 1)))
    assert len(found.tokens) == 2
    deeper, vision = found.elsewhere
    assert deeper.startswith("text.1: replace states of deeper layers")
    assert vision.startswith("vision.0 to vision.1: enter the image tower")
    assert nearest_words(CLIP, PromptSpec(), Prompts({})).lines() == [
        "no prompts are learned, so there is nothing to name"
    ]
