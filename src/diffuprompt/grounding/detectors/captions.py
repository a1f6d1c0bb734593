"""Captions as tokens, and which tokens stand for a phrase.

Legend: B caption, S token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import BertWordPieceTokenizer, models, normalizers, pre_tokenizers, processors

from diffuprompt.errors import CheckpointError
from diffuprompt.grounding.contract import Span, Tokens
from diffuprompt.reading import read_text

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
LONGEST = 256  # tokens of a caption that GLIP and MM-Grounding-DINO read


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

    @classmethod
    def from_file(cls, path: Path) -> CaptionTokenizer:
        """Read a ``tokenizer.json``, or BERT's ``vocab.txt`` (lower-cased word pieces).

        Raises:
            CheckpointError: it is missing or malformed, or has no `PAD`, `START` and `END`.
        """
        try:
            if path.suffix == ".json":
                backend = tokenizers.Tokenizer.from_file(str(path))
            else:
                words = read_text(path).splitlines()
                pieces = BertWordPieceTokenizer({w: i for i, w in enumerate(words)})
                backend = tokenizers.Tokenizer.from_str(pieces.to_str())
        except Exception as error:  # the library raises bare Exception for malformed files
            raise CheckpointError(
                f"{path}: expected a tokenizer.json, or a vocab.txt of BERT ({error})"
            ) from error
        missing = [t for t in (PAD, START, END) if backend.token_to_id(t) is None]
        if missing:
            raise CheckpointError(f"{path}: not a tokenizer of BERT's: it has no {missing}")
        return cls(backend)

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return int(self._backend.get_vocab_size())

    def to_json(self) -> str:
        """Return a ``tokenizer.json``."""
        return str(self._backend.to_str())

    def unknown(self, caption: str) -> tuple[str, ...]:
        """Return the words of a caption that there is no token for; punctuation is no word."""
        encoded, nothing = self._backend.encode(caption), self._backend.token_to_id(UNKNOWN)
        found = [
            caption[a:b]
            for token, (a, b) in zip(encoded.ids, encoded.offsets, strict=True)
            if token == nothing
        ]
        return tuple(dict.fromkeys(word for word in found if any(map(str.isalnum, word))))

    def __call__(self, captions: Sequence[str], longest: int = LONGEST) -> Tokens:
        """Return the tokens of captions; of one with more than ``longest`` the end is cut off."""
        encoded = [self._backend.encode(text) for text in captions]
        rows = [_cut(one.ids, longest) for one in encoded]
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = True
        offsets = tuple(tuple(_cut(one.offsets, longest)) for one in encoded)
        return Tokens(ids=ids, mask=mask, offsets=offsets)


def _cut(row: list[Any], longest: int) -> list[Any]:
    """Return the beginning of a row, and its last token, which ends every caption."""
    return row if len(row) <= longest else [*row[: longest - 1], row[-1]]


def joined(phrases: Sequence[str]) -> tuple[str, list[Span]]:
    """Return labels as one caption, "a. b. c.", and where each stands (GLIP, section 3.1)."""
    text, spans = "", []
    for phrase in phrases:
        spans.append((len(text), len(text) + len(phrase)))
        text += f"{phrase}. "
    return text.strip(), spans
