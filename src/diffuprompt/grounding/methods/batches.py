"""A batch of expressions as detectors and methods read it, on the detector's device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from diffuprompt.engine import sent
from diffuprompt.grounding.contract import Batch, Detector, Inputs, Tokens

Maps = Callable[[Sequence[int]], Tensor | None]  # rows of a set to `Inputs.maps`


def no_maps(rows: Sequence[int]) -> None:
    """Give no maps, for methods that read nothing."""


def placed(detector: Detector, batch: Batch) -> tuple[Batch, Tokens]:
    """Return a batch on the detector's device, without its masks, and its captions' tokens."""
    device = _device(detector)
    pixels, boxes = sent(batch.pixels, device), sent(batch.boxes, device)
    return replace(batch, pixels=pixels, boxes=boxes, masks=None), tokens_on(detector, batch.texts)


def tokens_on(detector: Detector, texts: Sequence[str]) -> Tokens:
    """Return captions' tokens on the detector's device."""
    device, tokens = _device(detector), detector.tokens(texts)
    return replace(tokens, ids=sent(tokens.ids, device), mask=sent(tokens.mask, device))


def as_inputs(batch: Batch, tokens: Tokens, maps: Tensor | None) -> Inputs:
    """Return what a method may look at; ``batch`` and ``tokens`` are those of `placed`."""
    return Inputs(
        pixels=batch.pixels,
        tokens=tokens,
        roots=batch.roots,
        maps=None if maps is None else sent(maps, batch.pixels.device).to(batch.pixels.dtype),
    )


def _device(detector: Detector) -> torch.device:
    return next(detector.module.parameters()).device
