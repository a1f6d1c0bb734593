"""Vocabularies of three formats agree with transformers' CLIPTokenizer and survive a round trip."""

import gzip
import json
from pathlib import Path

import pytest

from diffuprompt.checkpoints.tokenizer import BPE_FILE, CLIP_MERGES, EOT, SOT, Tokenizer
from diffuprompt.errors import CheckpointError

MERGES = ["t h", "th e</w>", "p h", "ph o", "o f</w>", "c a", "ca t</w>", "d o", "do g</w>"]
ODD = [
    "the photo of a cat",
    "  Two\tcats &\n3 dogs!! it's  WE'LL ",
    "naïve Straße İstanbul ΑΓΣ cafe\u0301",
    "日本語 हिन्दी ไทย \u200bzero",
    "\U0001f992 emoji \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "½ ² ٣ Ⅷ $5.99 50% a_b_c",
    "''s's 'S \u00a0\u2003 e",
    f"{EOT} x <|STARTOFTEXT|>",
    "",
]


@pytest.fixture
def bpe_file(tmp_path: Path) -> Path:
    path = tmp_path / BPE_FILE
    path.write_bytes(gzip.compress("\n".join(["#version: 0.2", *MERGES, ""]).encode()))
    return path


def test_bpe_ids_are_openais(bpe_file: Path) -> None:
    tokenizer = Tokenizer.from_bpe(bpe_file)
    assert tokenizer.vocab_size == 2 * 256 + len(MERGES) + 2
    assert (tokenizer.sot, tokenizer.eot) == (tokenizer.vocab_size - 2, tokenizer.vocab_size - 1)
    assert tokenizer.pad == tokenizer.eot
    first = 512  # the merges follow 256 bytes and 256 bytes with </w>
    # "!" is byte letter 0 and "a</w>" is 256 + its letter's place; "the" is the second merge
    assert tokenizer.encode("The a !") == [first + 1, 256 + ord("a") - 33, 256]
    assert tokenizer.encode("cats") == [first + 5, ord("t") - 33, 256 + ord("s") - 33]


def test_merges_beyond_clips_are_not_used(tmp_path: Path) -> None:
    letters = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    chains = [f"{a}{b} {c}" for a in letters for b in letters[:20] for c in letters[:20]]
    pairs = [f"{a} {b}" for a in letters for b in letters[:20]] + chains
    path = tmp_path / BPE_FILE
    path.write_bytes(gzip.compress("\n".join(["#version: 0.2", *pairs]).encode()))
    assert len(pairs) > CLIP_MERGES
    assert Tokenizer.from_bpe(path).vocab_size == 49408


def test_equal_to_transformers(bpe_file: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer.from_bpe(bpe_file)
    model = json.loads(tokenizer.to_bytes())["model"]
    pairs = [tuple(pair) for pair in model["merges"]]
    oracle = transformers.CLIPTokenizer(vocab=model["vocab"], merges=pairs)
    for text in ODD:
        ids = tokenizer.encode(text)
        assert ids == oracle(text, add_special_tokens=False)["input_ids"], text
        assert [tokenizer.sot, *ids, tokenizer.eot] == oracle(text)["input_ids"], text


def test_three_formats_agree(bpe_file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_bpe(bpe_file)
    model = json.loads(tokenizer.to_bytes())["model"]
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    new = tmp_path / "new"
    new.mkdir()
    (new / "tokenizer.json").write_bytes(tokenizer.to_bytes())
    others = [Tokenizer.from_folder(f) for f in (folder, new, bpe_file.parent)]
    for other in others:
        assert (other.sot, other.eot, other.pad) == (tokenizer.sot, tokenizer.eot, tokenizer.pad)
        assert [other.encode(t) for t in ODD] == [tokenizer.encode(t) for t in ODD]
    assert others[1].to_bytes() == tokenizer.to_bytes()


def test_truncation_and_padding_of_the_file_are_ignored(bpe_file: Path) -> None:
    raw = json.loads(Tokenizer.from_bpe(bpe_file).to_bytes())
    raw["truncation"] = {
        "direction": "Right",
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    tokenizer = Tokenizer.from_bytes(json.dumps(raw).encode())
    assert len(tokenizer.encode("a b c d e f g h i")) == 9


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"empty.*tokenizer\.json"):
        Tokenizer.from_folder(tmp_path / "empty")
    bad = tmp_path / "tokenizer.json"
    bad.write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a"):
        Tokenizer.from_file(bad)
    packed = tmp_path / BPE_FILE
    packed.write_bytes(b"plain")
    with pytest.raises(CheckpointError, match="gzip"):
        Tokenizer.from_bpe(packed)
    packed.write_bytes(gzip.compress(b"#version\na b c"))
    with pytest.raises(CheckpointError, match="line 2"):
        Tokenizer.from_bpe(packed)
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocab.write_text(json.dumps({"a": 0, SOT: 1}))
    merges.write_text("#version: 0.2\n")
    with pytest.raises(CheckpointError, match=r"vocab\.json.*endoftext"):
        Tokenizer.from_vocab(vocab, merges)
