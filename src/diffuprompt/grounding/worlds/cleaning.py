"""Captions as the released generator of masks reads them; a detector reads them as they are."""

from __future__ import annotations

import re

from diffuprompt.grounding.expressions import Span

MOST_WORDS = 30
_WORD = re.compile(r'[^\s.!"()*#:;~]+')


def clean_caption(text: str) -> str:
    """Return a caption in lower case, without ``. ! " ( ) * # : ; ~``, of at most 30 words.

    As in Diff-Prompt's released code (second stage): each of these characters is a space, and
    several spaces are one. The result is empty where nothing else was said.
    """
    return clean_with_root(text, (0, len(text)))[0]


def clean_with_root(text: str, root: Span) -> tuple[str, Span]:
    """Return `clean_caption` and where the root phrase stands in it.

    Where the root phrase is lost (it is behind the 30th word) the whole caption stands for it.
    """
    words, place, spans = [], 0, []
    for found in list(_WORD.finditer(text))[:MOST_WORDS]:
        word, start, end = found[0].lower(), *found.span()
        if start < root[1] and end > root[0]:
            first = len(text[start : max(start, root[0])].lower())
            last = len(text[start : min(end, root[1])].lower())
            spans.append((place + first, place + last))
        words.append(word)
        place += len(word) + 1
    cleaned = " ".join(words)
    return cleaned, (spans[0][0], spans[-1][1]) if spans else (0, len(cleaned))
