from __future__ import annotations

import copy
import dataclasses

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


def test_other_braces_of_a_sentence_are_text():
    clip = tower("plain-vit", torch.float64)
    found = Classes(["cat", "dog"]).sentences(clip, "a {} {place}.")
    plain = Classes(["a cat {place}.", "a dog {place}."]).sentences(clip, "{}")
    assert torch.equal(found.ids, plain.ids)


def test_nothing_to_tell_apart_is_an_error():
    with pytest.raises(DataError, match="empty"):
        Classes([])


def test_names_that_do_not_fit_are_named():
    clip = tower("stem-vit", torch.float64)
    with pytest.raises(DataError, match=r"fit into 40 tokens, the first is 'a photo of a zzzz"):
        Classes(["cat", "z" * 60]).sentences(clip, "a photo of a {}.")


def test_a_part_has_the_tokens_of_its_own_names():
    clip, classes = tower("plain-vit", torch.float64), Classes(NAMES, [(n, n + "!") for n in NAMES])
    part = classes.select([4, 1])
    assert part is classes.select(torch.tensor([4, 1]).tolist())
    assert part.names == (NAMES[4], NAMES[1])
    alone = Classes(part.names, part.descriptions)
    assert part.descriptions == ((NAMES[4], NAMES[4] + "!"), (NAMES[1], NAMES[1] + "!"))
    for make in (
        lambda c: c.tokens(clip, prefix="a photo of a", num_ctx=2),
        lambda c: c.sentences(clip, "a {}."),
        lambda c: c.described(clip, 1),
    ):
        found, want = make(part), make(alone)
        assert torch.equal(found.ids, want.ids)
        assert torch.equal(found.eot, want.eot)
        assert torch.equal(found.slots, want.slots)
    with pytest.raises(DataError, match="empty"):
        classes.select([])


def test_only_the_last_parts_are_remembered(monkeypatch):
    monkeypatch.setattr("diffuprompt.learners.classes.KEPT_PARTS", 2)
    classes = Classes(NAMES)
    first, second = classes.select([0]), classes.select([1])
    assert classes.select([0]) is first
    classes.select([2])  # now the oldest is [1]
    assert classes.select([0]) is first
    assert classes.select([1]) is not second


def test_tokens_are_those_of_the_tokenizer_and_not_of_its_address():
    """A new tokenizer can get the address of one that is gone: it must not get its tokens."""
    clip, classes = tower("plain-vit", torch.float64), Classes(NAMES)

    class Shifted:
        """Other ids for the same text."""

        def __init__(self, by: int) -> None:
            self.by, (self.sot, self.eot, self.pad) = by, (1, 2, 0)
            self.vocab_size = 1000

        def encode(self, text: str) -> list[int]:
            return [3 + self.by + ord(letter) % 7 for letter in text]

    def first_ids(by: int) -> list[int]:
        other = copy.copy(clip)
        other.tokenizer = Shifted(by)
        return classes.sentences(other, "{}").ids[0].tolist()

    seen = [first_ids(10 * i) for i in range(50)]  # each tokenizer is gone before the next is made
    assert all(ids[1] == seen[0][1] + 10 * i for i, ids in enumerate(seen))


def test_a_shorter_context_has_its_own_tokens():
    clip, classes = tower("plain-vit", torch.float64), Classes(NAMES)
    other = copy.copy(clip)
    text = dataclasses.replace(clip.config.text, context_length=30)
    other.config = dataclasses.replace(clip.config, text=text)
    assert classes.sentences(clip, "{}").ids.shape == (6, 77)
    assert classes.sentences(other, "{}").ids.shape == (6, 30)
