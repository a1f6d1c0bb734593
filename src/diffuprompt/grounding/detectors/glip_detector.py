"""GLIP as a `Detector`: tokens, answers under an adaptation, losses and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from diffuprompt.engine import sent
from diffuprompt.grounding.contract import (
    UNCHANGED,
    Adaptation,
    Context,
    Detections,
    Sites,
    Span,
    Tokens,
)
from diffuprompt.grounding.detectors.captions import LONGEST, CaptionTokenizer
from diffuprompt.grounding.detectors.content import content_of
from diffuprompt.grounding.detectors.glip import Glip, Raw
from diffuprompt.grounding.detectors.inference import detections
from diffuprompt.grounding.detectors.losses import glip_losses


class GlipDetector:
    """A frozen `Glip` with its tokenizer; see `contract.Detector`.

    ``min_score`` is a phrase's least mean probability at an anchor; GLIP's 0.05 spares time, and
    loses true boxes wherever a method turns other objects down.
    """

    def __init__(
        self,
        model: Glip,
        tokenizer: CaptionTokenizer,
        *,
        name: str,
        side: int,
        min_score: float = 0.0,
    ) -> None:
        self.module: nn.Module = model.eval().requires_grad_(False)
        self.model, self.tokenizer, self.name, self.side = model, tokenizer, name, side
        self.min_score = min_score
        config = model.config
        self.sites = Sites(
            visual=config.swin.widths,
            textual=(config.bert.width,) * config.bert.layers,
            levels=(config.channels,) * len(config.strides),
            language=config.bert.width,
        )

    @cached_property
    def content(self) -> str:
        """A hash of weights, configuration, vocabulary and ``min_score``."""
        told = asdict(self.model.config), self.tokenizer.to_json(), self.min_score
        return content_of(self.module, *told)

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return rows and columns of each visual block's map for pictures of a size."""
        if self.model.trunk is not None:
            stride = self.model.config.strides[0] // self.model.config.swin.patch
            height, width = -(-height // stride), -(-width // stride)
        return self.model.body.grids(height, width)

    def tokens(self, captions: Sequence[str]) -> Tokens:
        """Return captions as the text tower reads them."""
        return self.tokenizer(captions, min(LONGEST, self.model.config.bert.max_length))

    def unknown(self, caption: str) -> tuple[str, ...]:
        """Return the words of a caption that the text tower has no token for."""
        return self.tokenizer.unknown(caption)

    def run(self, pixels_BCHW: Tensor, tokens: Tokens, adaptation: Adaptation = UNCHANGED) -> Raw:
        """Return what the head says."""
        call = partial(functional_call, self.model, dict(adaptation.weights))
        run = call if adaptation.weights else lambda given: self.model(*given)
        raw: Raw = run((pixels_BCHW, tokens.ids, tokens.mask, adaptation))
        return raw if adaptation.words is None else replace(raw, words=adaptation.words(raw))

    @torch.inference_mode()
    def context(self, pixels_BCHW: Tensor, tokens: Tokens) -> Context:
        """Return what the frozen detector knows."""
        levels, language = self.model.features(pixels_BCHW, tokens.ids, tokens.mask)
        raw = self.model.head(levels, language, tokens.mask)
        parts = raw.words.split(raw.anchors.counts, 1)
        return Context(
            levels=tuple(levels),
            alignment=tuple(
                part.unflatten(1, level.shape[2:])
                for part, level in zip(parts, levels, strict=True)
            ),
            language=language,
            tokens=tokens,
        )

    def loss(
        self, answer: Raw, tokens: Tokens, roots: Sequence[Span], boxes_B4: Tensor
    ) -> dict[str, Tensor]:
        """Return GLIP's losses, the root phrase standing for the true box."""
        spans = torch.zeros(len(roots), 1, tokens.ids.shape[1])
        for i, root in enumerate(roots):
            spans[i, 0, tokens.of_span(i, root)] = 1
        return glip_losses(
            answer,
            tokens.mask,
            list(boxes_B4[:, None]),
            list(sent(spans, boxes_B4.device)),
            plus=self.model.config.plus,
        )

    def detect(
        self, answer: Raw, tokens: Tokens, roots: Sequence[Span], size: tuple[int, int]
    ) -> list[Detections]:
        """Return the boxes of each expression's root phrase; they are on the host."""
        answer = answer.cpu()  # suppression asks for one number after another
        plus = self.model.config.plus
        return [
            detections(
                answer, i, tokens.of_span(i, root), size, plus=plus, min_score=self.min_score
            )
            for i, root in enumerate(roots)
        ]
