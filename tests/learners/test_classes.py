from __future__ import annotations

import pytest
import torch
from tests.contract.towers import NAMES, tiny, tower

from diffuprompt.errors import DataError
from diffuprompt.learners.classes import Classes


def test_tokens_are_made_once_a_layout():
    clip, classes = tower("plain-vit", torch.float64), Classes(NAMES)
    first = classes.tokens(clip, prefix="a photo of a", num_ctx=4)
    assert classes.tokens(clip, prefix="a photo of a", num_ctx=4) is first
    assert classes.sentences(clip, "{}.") is classes.sentences(clip, "{}.")
    others = [
        classes.tokens(clip, prefix="a photo of a", num_ctx=2),
        classes.tokens(clip, prefix="a cat of a", num_ctx=4),
        classes.tokens(clip, prefix=None, num_ctx=4),
        classes.tokens(clip, prefix=None, num_ctx=4, position="front"),
        classes.sentences(clip, "a {}."),
        Classes(NAMES).tokens(clip, prefix="a photo of a", num_ctx=4),
    ]
    assert all(other is not first for other in others)


def test_another_tower_gets_its_own_tokens():
    """One list of names scores towers with other tokenizers and context lengths."""
    classes = Classes(NAMES)
    a, b = tower("plain-vit", torch.float64), tiny("stem-vit")
    assert classes.tokens(a, prefix=None, num_ctx=2).ids.shape == (6, 77)
    assert classes.tokens(b, prefix=None, num_ctx=2).ids.shape == (6, 40)


def test_underscores_are_spaces_and_names_stay_as_given():
    clip = tower("plain-vit", torch.float64)
    classes = Classes(["sea_lion", "sea lion"])
    assert classes.names == ("sea_lion", "sea lion")
    for tokens in (
        classes.tokens(clip, prefix=None, num_ctx=1),
        classes.sentences(clip, "a photo of a {}."),
    ):
        assert torch.equal(tokens.ids[0], tokens.ids[1])


def test_nothing_to_tell_apart_is_an_error():
    with pytest.raises(DataError, match="empty"):
        Classes([])


def test_names_that_do_not_fit_are_named():
    clip = tower("stem-vit", torch.float64)
    with pytest.raises(DataError, match=r"fit into 40 tokens, the first is 'a photo of a zzzz"):
        Classes(["cat", "z" * 60]).sentences(clip, "a photo of a {}.")
