"""What detectors, methods and expressions have in common: the seams of this room.

A *detector* is frozen. A *method* (Diff-Prompt, a rival, a control) learns; all that it may do to
a detector is an `Adaptation`, an explicit argument of one call. Nothing is hooked, and no module is
changed. What both are trained and tested on stands in `expressions`.

Legend: B expression of a batch, C channels, H rows, W columns, S text token, D text width, P
prompts, K kept steps of a trajectory, N boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from diffuprompt.errors import DataError
from diffuprompt.grounding.expressions import (
    Batch as Batch,
    Expression as Expression,
    Expressions as Expressions,
    Span as Span,
)

Reads = Literal["nothing", "masks", "latents"]


@dataclass(frozen=True, kw_only=True)
class VisualPrompt:
    """What one block of an image tower reads beside its tokens: extra keys and values.

    Attributes:
        tokens: ``(B, P, C)``, seen by every token, without positions.
        grid: ``(B, H, W, C)``, one prompt per token of the block's map, seen inside its window at
            the token's own position.
        mixed: a mistake of Diff-Prompt's release: window w of sample b reads ``tokens`` of sample
            (b * windows + w) mod B.
        misplaced: another: biases are P positions off their keys and queries.
    """

    tokens: Tensor | None = None
    grid: Tensor | None = None
    mixed: bool = False
    misplaced: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Adaptation:
    """What a method adds to a frozen detector in one call; empty, it is the frozen detector.

    Sequences go from the first block or layer on; what is None or beyond their end is unchanged.

    Attributes:
        visual: prompts of the image tower's blocks.
        textual: prompts ``(B, P, D)`` of the text tower's layers.
        weights: parameters of the detector, by name, that this call uses in the place of its own.
        visual_layers: functions of a block's output ``(B, H, W, C)``.
        textual_layers: functions of a layer's output ``(B, S, D)``.
        levels: function of the pyramid's maps ``(B, C, H, W)``, fine to coarse.
        language: function of the text features ``(B, S, D)``.
        words: function of the head's `Answer` that returns new word logits ``(B, A, S)``.
    """

    visual: Sequence[VisualPrompt | None] = ()
    textual: Sequence[Tensor | None] = ()
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    visual_layers: Sequence[Callable[[Tensor], Tensor] | None] = ()
    textual_layers: Sequence[Callable[[Tensor], Tensor] | None] = ()
    levels: Callable[[Sequence[Tensor]], list[Tensor]] | None = None
    language: Callable[[Tensor], Tensor] | None = None
    words: Callable[[Answer], Tensor] | None = None


UNCHANGED = Adaptation()


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """Captions of a batch, padded to the longest.

    Attributes:
        ids: ``(B, S)``.
        mask: ``(B, S)``, True for tokens.
        offsets: of each caption, the characters of each token; special tokens have (0, 0).
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


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Where a detector can be adapted: widths, from the first block or layer on.

    Attributes:
        visual: of the image tower's blocks.
        textual: of the text tower's layers.
        levels: channels of the pyramid's maps.
        language: of the text features that the head reads.
    """

    visual: tuple[int, ...]
    textual: tuple[int, ...]
    levels: tuple[int, ...]
    language: int


class Answer(Protocol):
    """What a detector says about every candidate (anchor or query); the rest is its own."""

    @property
    def words(self) -> Tensor:
        """Logits ``(B, A, S)`` of each token."""

    @property
    def cells(self) -> Tensor:
        """What they are computed from in the picture, ``(B, A, C)``."""

    @property
    def language(self) -> Tensor:
        """What they are computed from in the caption, ``(B, S, D)``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What the frozen detector alone knows about pictures and captions; no gradients.

    Attributes:
        levels: pyramid's maps ``(B, C, H, W)``, fine to coarse.
        alignment: for each level ``(B, H, W, S)``, the word logits of its cells.
        language: text features ``(B, S, D)``.
        tokens: of the captions.
    """

    levels: tuple[Tensor, ...]
    alignment: tuple[Tensor, ...]
    language: Tensor
    tokens: Tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """The boxes of one expression, the best first.

    Attributes:
        boxes: ``(N, 4)`` in pixels of what the detector read, exclusive ends.
        scores: ``(N,)`` in 0..1.
    """

    boxes: Tensor
    scores: Tensor


AnswerT = TypeVar("AnswerT", bound=Answer)


class Detector(Protocol[AnswerT]):
    """A frozen grounding detector; all its parameters are ``requires_grad=False``.

    It reads answers of its own kind only.
    """

    @property
    def name(self) -> str:
        """What records call it."""

    @property
    def content(self) -> str:
        """A hash of all that its answers depend on: weights, configuration, vocabulary."""

    @property
    def side(self) -> int:
        """Pictures are resized to ``side x side`` where nothing else is said; any size works."""

    @property
    def sites(self) -> Sites:
        """Where it can be adapted."""

    @property
    def module(self) -> nn.Module:
        """All its parameters."""

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return rows and columns of each visual block's map for pictures of a size."""

    def tokens(self, captions: Sequence[str]) -> Tokens:
        """Return captions as the text tower reads them."""

    def unknown(self, caption: str) -> tuple[str, ...]:
        """Return the words of a caption that the text tower has no token for."""

    def run(
        self, pixels_BCHW: Tensor, tokens: Tokens, adaptation: Adaptation = UNCHANGED
    ) -> AnswerT:
        """Return what it says about pictures (RGB in 0..1) and their captions, one for each."""

    def context(self, pixels_BCHW: Tensor, tokens: Tokens) -> Context:
        """Return what the frozen detector knows."""

    def loss(
        self, answer: AnswerT, tokens: Tokens, roots: Sequence[Span], boxes_B4: Tensor
    ) -> dict[str, Tensor]:
        """Return "loss" and its terms for one true box per expression, in pixels."""

    def detect(
        self, answer: AnswerT, tokens: Tokens, roots: Sequence[Span], size: tuple[int, int]
    ) -> list[Detections]:
        """Return the boxes of each expression's root phrase; ``size`` is height and width."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What a method may look at to adapt a detector: never the true box.

    Attributes:
        pixels: RGB in 0..1 ``(B, 3, H, W)``.
        tokens: of the captions.
        roots: root phrase of each caption.
        maps: ``(B, K, h, w)`` masks of a trajectory (0..1, not clamped), the cleanest first, or
            with ``reads = "latents"`` ``(B, K, C, h, w)``; None for methods that read nothing.
    """

    pixels: Tensor
    tokens: Tokens
    roots: Sequence[Span]
    maps: Tensor | None = None


class Method(nn.Module):
    """Learns to adapt a frozen detector. Its parameters are all that training changes.

    Subclasses take ``(sites, config, init)``, a stream of initial weights, never a detector.
    """

    reads: Reads = "nothing"

    def prepare(self, detector: Detector, batches: Callable[[], Iterable[Batch]]) -> None:
        """Look at the training expressions once, before training (caches, initial weights)."""

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return what is added for these pictures and captions.

        Expressions are independent: a batch of two gives what two batches of one give.
        """
        raise NotImplementedError
