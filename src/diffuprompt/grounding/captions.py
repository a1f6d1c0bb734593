"""Captions as tokens, and which tokens stand for a phrase.

Legend: B caption, S token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors
from torch import Tensor

from diffuprompt.errors import DataError

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """Captions of a batch, padded to the longest.

    Attributes:
        ids: ``(B, S)``.
        mask: ``(B, S)``, True for tokens.
        offsets: of each caption, first and last (exclusive) character of each token; special
            tokens have (0, 0).
    """

    ids: Tensor
    mask: Tensor
    offsets: tuple[tuple[Span, ...], ...]

    def of_span(self, index: int, span: Span) -> Tensor:
        """Return the positions of the tokens of caption ``index`` that overlap ``span``.

        Raises:
            DataError: there is none.
        """
        start, end = span
        found = [i for i, (a, b) in enumerate(self.offsets[index]) if a < end and b > start]
        if not found:
            raise DataError(f"characters {start} to {end} of caption {index} hold no word")
        return torch.tensor(found)


class CaptionTokenizer:
    """The `tokenizers` library with the tokens that BERT's captions begin and end with."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        backend.no_padding()
        backend.no_truncation()
        self.pad = int(backend.token_to_id(PAD))
        self.unknown = int(backend.token_to_id(UNKNOWN))

    @classmethod
    def of_words(cls, words: Sequence[str]) -> CaptionTokenizer:
        """Return a tokenizer of whole words, lower-cased; all others are unknown."""
        known = dict.fromkeys((PAD, UNKNOWN, START, END, ".", *sorted(set(words))))
        vocabulary = {word: i for i, word in enumerate(known)}
        backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        ends = [(START, vocabulary[START]), (END, vocabulary[END])]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}", special_tokens=ends
        )
        return cls(backend)

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return int(self._backend.get_vocab_size())

    def to_json(self) -> str:
        """Return a ``tokenizer.json``."""
        return str(self._backend.to_str())

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Return the tokens of captions."""
        encoded = [self._backend.encode(text) for text in captions]
        longest = max(len(one.ids) for one in encoded)
        ids = torch.full((len(encoded), longest), self.pad)
        mask = torch.zeros(len(encoded), longest, dtype=torch.bool)
        for i, one in enumerate(encoded):
            ids[i, : len(one.ids)] = torch.tensor(one.ids)
            mask[i, : len(one.ids)] = True
        return Tokens(ids=ids, mask=mask, offsets=tuple(tuple(one.offsets) for one in encoded))


def joined(phrases: Sequence[str]) -> tuple[str, list[Span]]:
    """Return labels as one caption, "a. b. c.", and where each of them stands (GLIP, section 3.1)."""
    text, spans = "", []
    for phrase in phrases:
        spans.append((len(text), len(text) + len(phrase)))
        text += f"{phrase}. "
    return text.strip(), spans
