"""What makes two backbones the same: weights, configuration, vocabulary and preprocessing."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from diffuprompt.clip.config import ClipConfig
from diffuprompt.clip.tokens import Encoder
from diffuprompt.data import Preprocess

# Spelling, case, accents, contractions, digits, spaces and other scripts: what normalisers and
# splitters of one vocabulary may treat in different ways.
PROBES = (
    "a photo of a cat.",
    "A Photo  of\tan ÉCLAIR",
    "e\u0301clair, cafe\u0301 au lait",
    "it's John's; they'll we've I'm don't",
    "F-16A 737-800 2012 1,000.5",
    "naïve Straße İstanbul ΑΣ",
    "snow_leopard (cat) & dog/wolf #1 @home",
    "犬 собака 🐕",
    "",
)


def clip_identity(
    config: ClipConfig, tokenizer: Encoder, preprocess: Preprocess, weights_hash: str
) -> str:
    """Return thirty-two hex digits, equal iff two backbones compute the same of everything.

    Args:
        config: shapes, activation, heads, eps, special ids.
        tokenizer: counted by its ids, not by its file: the same vocabulary may be stored in
            several formats.
        preprocess: what becomes of pixels.
        weights_hash: of the weight files' bytes.
    """
    parts = [weights_hash, dataclasses.asdict(config), vocabulary_hash(tokenizer), preprocess.hash]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def vocabulary_hash(tokenizer: Encoder) -> str:
    """Return sixteen hex digits over every token with its id, and over the ids of `PROBES`."""
    special = [tokenizer.sot, tokenizer.eot, tokenizer.pad]
    probes = [tokenizer.encode(text) for text in PROBES]
    text = json.dumps([special, probes, sorted(tokenizer.vocabulary().items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
