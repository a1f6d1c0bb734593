"""The tokenizer that belongs to a checkpoint, over the `tokenizers` library.

Vocabularies come as a ``tokenizer.json``, as ``vocab.json`` with ``merges.txt`` (older Hugging
Face folders), or as OpenAI's ``bpe_simple_vocab_16e6.txt.gz``.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from diffuprompt.errors import CheckpointError
from diffuprompt.reading import parse_json, read_json

SOT, EOT = "<|startoftext|>", "<|endoftext|>"
BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
MOST_BYTES = 2**27  # of a vocabulary file; the largest in use have some 20 million
MOST_IDS = 2**31
CLIP_MERGES = 49152 - 256 - 2  # OpenAI's file has more merges than CLIP uses
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
Merge = tuple[str, str]


class Tokenizer:
    """Text to token ids, with the ids of start, end and padding.

    The padding is the end token: a causal tower never reads what follows the first end token.
    """

    def __init__(self, backend: tokenizers.Tokenizer, source: str) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend, self._source = backend, source
        self.sot, self.eot = _special_ids(backend, source)
        self.pad = self.eot

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read a ``tokenizer.json``; raises `CheckpointError` if it is missing or damaged."""
        return cls.from_bytes(_read(path), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "tokenizer.json") -> Tokenizer:
        """Inverse of `to_bytes`; ``source`` is named in errors."""
        with _named(source, "not a usable tokenizer.json"):
            parse_json(data.decode("utf-8-sig"), source)
            return cls(tokenizers.Tokenizer.from_buffer(data), source)

    @classmethod
    def from_vocab(cls, vocab: Path, merges: Path) -> Tokenizer:
        """Read ``vocab.json`` and ``merges.txt``; raises `CheckpointError`."""
        ids = read_json(vocab)
        known = isinstance(ids, dict) and ids
        if not known or not all(type(i) is int and 0 <= i < MOST_IDS for i in ids.values()):
            raise CheckpointError(f"{vocab}: expected an object of token -> id")
        return cls(_clip_bpe(ids, _merges(_read(merges), merges), vocab), str(vocab))

    @classmethod
    def from_bpe(cls, path: Path) -> Tokenizer:
        """Read OpenAI's gzipped merge list; the full file gives CLIP's 49,408 tokens.

        Ids follow openai/CLIP: 256 bytes, the same with ``</w>``, one token a merge, start, end.
        """
        try:
            with gzip.open(path) as file:
                text = file.read(MOST_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise CheckpointError(f"{path}: expected a gzip file, {error}") from error
        if len(text) > MOST_BYTES:
            raise CheckpointError(f"{path}: more than {MOST_BYTES} bytes of merges")
        merges = _merges(text, path)[:CLIP_MERGES]
        letters = _byte_letters()
        tokens = [*letters, *(f"{x}</w>" for x in letters), *("".join(m) for m in merges), SOT, EOT]
        ids = {token: i for i, token in enumerate(tokens)}
        return cls(_clip_bpe(ids, merges, path), str(path))

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Read whichever vocabulary ``folder`` holds; raises `CheckpointError` if it has none."""
        if (folder / "tokenizer.json").is_file():
            return cls.from_file(folder / "tokenizer.json")
        if (folder / "vocab.json").is_file():
            return cls.from_vocab(folder / "vocab.json", folder / "merges.txt")
        if (folder / BPE_FILE).is_file():
            return cls.from_bpe(folder / BPE_FILE)
        raise CheckpointError(
            f"{folder}: no vocabulary; expected tokenizer.json, or vocab.json and merges.txt, "
            f"or {BPE_FILE}"
        )

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``: no start, no end, no padding, never cut off.

        As in transformers, text is NFC-normalised and lower-cased; OpenAI's further repairs (ftfy,
        HTML entities) are not applied.
        """
        with _named(self._source, f"cannot split {ascii(text)[:80]}"):
            return self._backend.encode(text, add_special_tokens=False).ids

    def vocabulary(self) -> dict[str, int]:
        """Return every token with its id, special ones included."""
        return self._backend.get_vocab(with_added_tokens=True)

    def to_bytes(self) -> bytes:
        """Return the content of a ``tokenizer.json``."""
        return self._backend.to_str(pretty=False).encode()


def _special_ids(backend: tokenizers.Tokenizer, source: str) -> tuple[int, int]:
    """Ids of start and end: what the post-processor puts around an empty text, else by name."""
    with _named(source, "its post-processor cannot be used"):
        ids = backend.encode("", add_special_tokens=True).ids
    if len(ids) == 2:
        return ids[0], ids[1]
    sot, eot = backend.token_to_id(SOT), backend.token_to_id(EOT)
    if sot is None or eot is None:
        raise CheckpointError(
            f"{source}: expected the tokens {SOT} and {EOT}, or a post-processor that adds one "
            f"token before and one after a text; got {len(ids)} tokens for an empty text"
        )
    return sot, eot


def _clip_bpe(
    ids: Mapping[str, int], merges: Sequence[Merge], source: Path
) -> tokenizers.Tokenizer:
    """CLIP's byte-level BPE with ``</w>``, as transformers builds it."""
    missing = [token for token in (SOT, EOT) if token not in ids]
    if missing:
        raise CheckpointError(f"{source}: the vocabulary lacks {' and '.join(missing)}")
    with _named(str(source), "vocabulary and merges do not fit"):
        model = models.BPE(
            vocab=dict(ids),
            merges=list(merges),
            unk_token=EOT,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
        )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in (SOT, EOT)])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{SOT} $A {EOT}", special_tokens=[(SOT, ids[SOT]), (EOT, ids[EOT])]
    )
    return backend


def _merges(data: bytes, path: Path) -> list[Merge]:
    """Parse lines of two tokens; the first line is a version comment."""
    merges: list[Merge] = []
    try:
        lines = data.decode("utf-8-sig").splitlines()[1:]
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not UTF-8 text ({error})") from error
    for number, line in enumerate(lines, start=2):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2:
            raise CheckpointError(f"{path}, line {number}: expected two tokens, got {line!r}")
        merges.append((parts[0], parts[1]))
    return merges


def _byte_letters() -> list[str]:
    """The 256 letters that stand for bytes (GPT-2), in OpenAI's order: printable ones first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = len(set(range(256)) - set(printable))
    return [chr(code) for code in printable] + [chr(256 + i) for i in range(rest)]


@contextmanager
def _named(source: str, what: str) -> Iterator[None]:
    """Turn whatever the library raises into an error of ours.

    That is often a bare Exception, and a panic of its Rust code is not even that.
    """
    try:
        yield
    except CheckpointError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{source}: {what} ({reason})") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise CheckpointError(
                f"{path}: more than {MOST_BYTES} bytes; no vocabulary is so large"
            )
        return data
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
