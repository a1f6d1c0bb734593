"""The root phrase of a caption, the words that name the object itself.

That is "the red cup" of "the red cup left of the lamp"; a detector's score is their average.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Protocol

from diffuprompt.grounding.expressions import Span

RootFinder = Callable[[str], Span]

MODEL = "en_core_web_sm"  # spaCy's, as MDETR's annotations were made with
NOUNS = {"NOUN", "PROPN", "PRON"}
SUBJECTS = {"nsubj", "nsubjpass", "nsubj:pass"}
ARTICLE = re.compile(r"(the|an?)\s+(?=\w)", re.IGNORECASE)
# What follows a noun and speaks of another: a place, a relative clause, something held or worn.
RELATION = re.compile(
    r"(?<=\w)[\s,]+((to|on|at|in) the )?((left|right) of|above|below|under|over|behind|beside|"
    r"between|beneath|near|nearest|next to|close to|closest to|in|on|at|with|without|wearing|"
    r"holding|that|which|who|whose|where)\b",
    re.IGNORECASE,
)


class Word(Protocol):
    """A token of spaCy."""

    i: int
    pos_: str
    dep_: str

    @property
    def head(self) -> Word:
        """The word that it depends on; of a sentence's root, itself."""


class Chunk(Protocol):
    """A noun phrase of spaCy."""

    start_char: int
    end_char: int
    root: Word


class Parsed(Protocol):
    """A text as spaCy reads it: a sequence of words."""

    noun_chunks: Iterable[Chunk]

    def __len__(self) -> int:
        """How many words there are."""

    def __getitem__(self, index: int) -> Word:
        """Return one of them."""


class Parser(Protocol):
    """A pipeline of spaCy, or whatever answers like one."""

    def __call__(self, text: str) -> Parsed:
        """Return the parsed text."""


@cache
def english_parser() -> Parser | None:
    """Return spaCy's English pipeline, None where the library or the model is not installed."""
    try:
        import spacy
    except ImportError:
        return None
    if not spacy.util.is_package(MODEL):
        return None
    found: Parser = spacy.load(MODEL)
    return found


def root_phrase(text: str) -> Span:
    """Return where the root phrase of a caption is: of `english_parser`, else `leading_root`."""
    parser = english_parser()
    return leading_root(text) if parser is None else parsed_root(text, parser)


def leading_root(text: str) -> Span:
    """Return where a caption's words stand up to the first that relates it to something else.

    A leading article is left out: it names nothing, and the made worlds' roots have none. The rule
    finds the roots of all made expressions; it knows no grammar, so that "the man sits on a chair"
    keeps its verb.
    """
    start, end = whole_caption(text)
    if (article := ARTICLE.match(text, start, end)) is not None:
        start = article.end()
    relation = RELATION.search(text, start, end)
    return (start, relation.start() if relation is not None else end)


def whole_caption(text: str) -> Span:
    """Return where a caption stands without spaces around it and without its final full stop."""
    start = len(text) - len(text.lstrip())
    return (start, len(text.rstrip().rstrip(".").rstrip()))


def parsed_root(text: str, parser: Parser) -> Span:
    """Return where the root phrase of a caption stands.

    It is the noun phrase around the sentence's syntactic root, or else around the root's subject.
    Where there is at most one noun or pronoun, or no such phrase, it is the `whole_caption`, as in
    MDETR's annotations of referring expressions (Kamath et al., 2021).
    """
    whole = whole_caption(text)
    parsed = parser(text)
    words = [parsed[i] for i in range(len(parsed))]
    if sum(word.pos_ in NOUNS for word in words) < 2:
        return whole
    root = next((word.i for word in words if word.dep_ == "ROOT"), None)
    subjects = {w.i for w in words if w.dep_ in SUBJECTS and w.head.i == root}
    chunks = list(parsed.noun_chunks)
    for wanted in ({root}, subjects):
        for chunk in chunks:
            if chunk.root.i in wanted:
                return (chunk.start_char, chunk.end_char)
    return whole
