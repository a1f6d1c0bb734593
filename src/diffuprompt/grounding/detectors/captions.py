"""Captions as tokens, and which tokens stand for a phrase.

Legend: B caption, S token.
"""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors

from diffuprompt.grounding.contract import Span, Tokens

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"


class CaptionTokenizer:
    """The `tokenizers` library with the tokens that BERT's captions begin and end with."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        backend.no_padding()
        backend.no_truncation()
        self.pad = backend.token_to_id(PAD) or 0

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
    """Return labels as one caption, "a. b. c.", and where each stands (GLIP, section 3.1)."""
    text, spans = "", []
    for phrase in phrases:
        spans.append((len(text), len(text) + len(phrase)))
        text += f"{phrase}. "
    return text.strip(), spans
