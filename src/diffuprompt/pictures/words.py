"""Which words prompt vectors lie near, and how near that is.

A vector at the input stands where a word's embedding would, so the two can be compared; a nearest
word alone says little, since one always exists (CoOp's own tool shows mostly noise). So each comes
with its cosine and with its distance in units of what lies between two random words: a word's own
vector has cosine 1 and distance 0, and at a distance of 1 and more it is no nearer than any other.

Legend: M prompt token, D width, W word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.clip import Clip, Encoder
from diffuprompt.engine import torch_stream
from diffuprompt.prompts import Prompts, PromptSpec

PAIRS = 4096  # of random words, whose median distance is the unit
END = "</w>"  # of a word, in CLIP's vocabulary


@dataclass(frozen=True, kw_only=True)
class NearWord:
    """A word near a vector.

    Attributes:
        word: as the vocabulary spells it.
        cosine: of the vector with the word's embedding.
        distance: Euclidean, over the median distance of two random words.
    """

    word: str
    cosine: float
    distance: float


@dataclass(frozen=True, kw_only=True)
class NearWords:
    """The words near every vector of a prompt at the input of the text tower.

    Attributes:
        tokens: for each of the M vectors its nearest words, the nearest by cosine first; none for
            a vector of zeros, which has no direction.
        elsewhere: what of the prompts no word can be compared with, and why, a sentence each.
    """

    tokens: tuple[tuple[NearWord, ...], ...] = ()
    elsewhere: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return one line a token, then what is elsewhere."""
        out = []
        for number, words in enumerate(self.tokens, 1):
            shown = ", ".join(f"{w.word} ({w.cosine:+.2f}, {w.distance:.2f})" for w in words)
            out.append(f"v{number}: {shown or 'zeros: no direction, so no word'}")
        return [*out, *self.elsewhere]


def nearest_words(
    clip: Clip, spec: PromptSpec, prompts: Prompts, *, most: int = 3, label: int = 0
) -> NearWords:
    """Return the words near the prompts of one image.

    Args:
        clip: whose vocabulary and embeddings.
        spec: the slots of ``prompts``.
        prompts: source prompts with one image.
        most: words of each token.
        label: the class whose context is shown, where each has its own.
    """
    tokens: tuple[tuple[NearWord, ...], ...] = ()
    deeper, vision = [], []
    for slot in spec.slots:
        if slot.tower == "vision":
            vision.append(slot.name)
        elif slot.layer:
            deeper.append(slot.name)
        else:
            of_class = label if slot.classes > 1 else 0
            tokens = _near(clip, prompts[slot.name][0, of_class], most)
    elsewhere = []
    if deeper:
        elsewhere.append(f"{_span(deeper)}: replace states of deeper layers, where no word lives")
    if vision:
        elsewhere.append(f"{_span(vision)}: enter the image tower, which knows no words")
    if not spec.slots:
        elsewhere.append("no prompts are learned, so there is nothing to name")
    return NearWords(tokens=tokens, elsewhere=tuple(elsewhere))


def whole_words(tokenizer: Encoder) -> dict[int, str]:
    """Return the tokens that are a word of letters by themselves, by id.

    In a vocabulary that does not mark where words end, all tokens of letters.
    """
    every = tokenizer.vocabulary()
    ended = {i: t.removesuffix(END) for t, i in every.items() if t.endswith(END)}
    found = ended or {i: t for t, i in every.items()}
    return {i: t for i, t in sorted(found.items()) if t.isascii() and t.isalpha()}


def _near(clip: Clip, vectors_MD: Tensor, most: int) -> tuple[tuple[NearWord, ...], ...]:
    words = whole_words(clip.tokenizer)
    ids = torch.tensor(list(words), device=vectors_MD.device)
    table_WD = clip.text.embed(ids).float()
    vectors_MD = vectors_MD.detach().float()
    cosine_MW = functional.normalize(vectors_MD, dim=1) @ functional.normalize(table_WD, dim=1).T
    distance_MW = torch.cdist(vectors_MD, table_WD) / _unit(table_WD)
    best = cosine_MW.topk(min(most, len(words)), dim=1).indices.tolist()
    names, out = list(words.values()), []
    for m, row in enumerate(best):
        row = row if bool(vectors_MD[m].any()) else []
        out.append(
            tuple(
                NearWord(
                    word=names[w],
                    cosine=float(cosine_MW[m, w]),
                    distance=float(distance_MW[m, w]),
                )
                for w in row
            )
        )
    return tuple(out)


def _unit(table_WD: Tensor) -> Tensor:
    """Return the median distance of two random words."""
    pairs = torch.randint(len(table_WD), (2, PAIRS), generator=torch_stream(0, "pairs of words"))
    pairs = pairs[:, pairs[0] != pairs[1]].to(table_WD.device)
    return (table_WD[pairs[0]] - table_WD[pairs[1]]).norm(dim=1).median()


def _span(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
