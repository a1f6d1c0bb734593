"""Object labels as captions, which is all that a tiny detector is trained on (GLIP, section 3.1).

Labels come at random granularity ("ring", "red ring", "striped object"); never a size, an extreme
or a relation, so that what an expression adds to a label is left to prompts.

Legend: N objects, S tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from diffuprompt.grounding.contract import Span, Tokens
from diffuprompt.grounding.detectors.captions import CaptionTokenizer, joined
from diffuprompt.grounding.worlds.picture import Picture


@dataclass(frozen=True, kw_only=True)
class Labels:
    """A caption of labels, and for each object where the labels that fit it stand."""

    text: str
    spans: tuple[tuple[Span, ...], ...]


def label_caption(
    picture: Picture, others: Sequence[str], rng: Random, *, absent: int = 3
) -> Labels:
    """Return a caption that names every object, and labels that fit nothing in the picture.

    One granularity per object is drawn; a label that fits several objects counts for all of them.

    Args:
        picture: with its objects' words.
        others: labels of which those that fit nothing are drawn.
        rng: all randomness comes from it.
        absent: how many of them.
    """
    chosen = {rng.choice(words) for words in picture.words}
    every = {word for words in picture.words for word in words}
    free = [word for word in others if word not in every]
    phrases = [*chosen, *rng.sample(free, min(absent, len(free)))]
    phrases.sort()  # a set's order differs between processes
    rng.shuffle(phrases)
    text, spans = joined(phrases)
    return Labels(
        text=text,
        spans=tuple(
            tuple(s for phrase, s in zip(phrases, spans, strict=True) if phrase in words)
            for words in picture.words
        ),
    )


def label_targets(tokens: Tokens, labels: Sequence[Labels]) -> list[Tensor]:
    """Return ``(N, S)`` for each caption: 1 for the tokens of the labels that fit an object."""
    found = []
    for i, one in enumerate(labels):
        rows = torch.zeros(len(one.spans), tokens.ids.shape[1])
        for k, spans in enumerate(one.spans):
            for span in spans:
                rows[k, tokens.of_span(i, span)] = 1
        found.append(rows)
    return found


def vocabulary(words: Sequence[str]) -> CaptionTokenizer:
    """Return a tokenizer of all words of labels, and of those that expressions add to them."""
    spatial = "the to of and a left right above below leftmost rightmost topmost bottommost"
    sizes = "largest smallest small medium large object"
    return CaptionTokenizer.of_words([*" ".join([*words, spatial, sizes]).split()])
