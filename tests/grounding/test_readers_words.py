"""Root phrases, with a parser and without, and captions as the released generator reads them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import pytest

from diffuprompt.grounding.worlds import roots
from diffuprompt.grounding.worlds.making import WorldName, make_expressions
from diffuprompt.grounding.worlds.roots import leading_root, parsed_root, root_phrase, whole_caption


@dataclass
class FakeWord:
    i: int
    pos_: str
    dep_: str
    head: FakeWord | None = None


@dataclass
class FakeChunk:
    start_char: int
    end_char: int
    root: FakeWord


class FakeParsed(list):
    noun_chunks: list[FakeChunk]


def parser(tags: str, chunks: list[tuple[str, int]]):
    """Return a stand-in for spaCy.

    ``tags`` are "POS:dep:head" of each word, ``chunks`` noun phrases with the index of their root.
    """

    def parse(text: str) -> FakeParsed:
        told = [tag.split(":") for tag in tags.split()]
        words = FakeParsed(FakeWord(i, pos, dep) for i, (pos, dep, _) in enumerate(told))
        for word, (_, _, head) in zip(words, told, strict=True):
            word.head = words[int(head)]
        words.noun_chunks = [
            FakeChunk(text.index(phrase), text.index(phrase) + len(phrase), words[root])
            for phrase, root in chunks
        ]
        return words

    return parse


CUP = "the red cup left of the lamp"
CUP_TAGS = "DET:det:2 ADJ:amod:2 NOUN:ROOT:2 ADV:advmod:2 ADP:prep:3 DET:det:6 NOUN:pobj:4"
RUNS = "a lamp near a dog that runs"
SITS = "the man sits on a chair"
SITS_TAGS = "DET:det:1 NOUN:nsubj:2 VERB:ROOT:2 ADP:prep:2 DET:det:5 NOUN:pobj:3"


@pytest.mark.parametrize(
    ("text", "tags", "chunks", "expected"),
    [
        (CUP, CUP_TAGS, [("the red cup", 2), ("the lamp", 6)], "the red cup"),
        (CUP, CUP_TAGS, [("the lamp", 6)], CUP),  # no phrase around the root
        (SITS, SITS_TAGS, [("a chair", 5), ("the man", 1)], "the man"),
        (SITS, SITS_TAGS.replace("nsubj", "dep"), [("a chair", 5), ("the man", 1)], SITS),
        ("red cup.", "ADJ:amod:1 NOUN:ROOT:1 PUNCT:punct:1", [("cup", 1)], "red cup"),  # one noun
        ("it left of him", "PRON:ROOT:0 ADV:advmod:0 ADP:prep:1 PRON:pobj:2", [("it", 0)], "it"),
    ],
)
def test_root_phrases_with_a_parser(
    text: str, tags: str, chunks: list[tuple[str, int]], expected: str
) -> None:
    start, end = parsed_root(text, parser(tags, chunks))
    assert text[start:end] == expected


def test_the_installed_parser_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = parser(CUP_TAGS, [("the red cup", 2)])
    monkeypatch.setattr(roots, "english_parser", lambda: fake)
    assert root_phrase(CUP) == (0, 11)
    monkeypatch.setattr(roots, "english_parser", lambda: None)
    assert root_phrase(CUP) == (4, 11)


@pytest.mark.skipif(importlib.util.find_spec("spacy") is not None, reason="spaCy is installed")
def test_without_spacy_the_leading_words_count() -> None:
    assert roots.english_parser() is None
    assert root_phrase(f"{CUP}.") == (4, 11)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CUP, "red cup"), (f" {CUP.capitalize()} ", "red cup"), ("left mug", "left mug"),
        ("man in blue", "man"), ("a cup to the left of the lamp", "cup"),
        ("the in-crowd", "in-crowd"), ("a lamp near a dog that runs", "lamp"),
        ("guy, holding a phone.", "guy"),
        ("on the left", "on the left"), ("the", "the"), (SITS, "man sits"),
    ],
)  # fmt: skip
def test_leading_words_end_at_the_first_relation(text: str, expected: str) -> None:
    start, end = leading_root(text)
    assert text[start:end] == expected


@pytest.mark.parametrize("world", ["scenes", "crowds"])
def test_leading_words_are_the_roots_of_made_expressions(world: WorldName) -> None:
    """So that `predict` scores the words that training and the study score."""
    made = make_expressions(world, "test", seed=0, count=120, workers=1)
    rows = [made[i] for i in range(len(made))]
    assert {row.kind for row in rows} == {"plain", "extreme", "relation"}
    assert all(leading_root(row.text) == row.root for row in rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a cup", "a cup"), (" a cup. ", "a cup"), ("a cup ...", "a cup"), ("a. b", "a. b")],
)
def test_whole_captions(text: str, expected: str) -> None:
    start, end = whole_caption(text)
    assert text[start:end] == expected
