"""The tokenizer of `scenes-clip`: a small byte-level BPE in CLIP's style."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer as Backend, models, normalizers, pre_tokenizers, trainers

from diffuprompt.checkpoints import EOT, SOT, WORDS, Tokenizer
from diffuprompt.data import SHAPES, STYLES, caption, scene

VOCABULARY = 1536
WORD_LIST = Path(__file__).with_name("words.txt")


def _corpus() -> list[str]:
    """Captions, the world's own words, and general English so that other names stay short."""
    captions = [caption(scene(0, k, stream="words"), Random(k)) for k in range(2000)]
    words = WORD_LIST.read_text().split()
    return [*captions, *[w for w in (*SHAPES, *STYLES, *words) for _ in range(30)]]


def train_tokenizer() -> Tokenizer:
    """Train the BPE; ids follow CLIP: bytes, bytes with ``</w>``, merges, start, end (largest)."""
    backend = Backend(models.BPE(end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    backend.train_from_iterator(_corpus(), trainer)
    merges = [tuple(pair) for pair in json.loads(backend.to_str())["model"]["merges"]]
    tokens = [*letters, *(f"{x}</w>" for x in letters), *("".join(m) for m in merges)]
    tokens = list(dict.fromkeys(tokens))[: VOCABULARY - 2]
    kept = [m for m in merges if "".join(m) in set(tokens)]
    with tempfile.TemporaryDirectory() as folder:
        vocab, merge_file = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocab.write_text(json.dumps({t: i for i, t in enumerate([*tokens, SOT, EOT])}))
        merge_file.write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in kept) + "\n")
        return Tokenizer.from_vocab(vocab, merge_file)
