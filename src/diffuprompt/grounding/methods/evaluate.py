"""What a detector finds under a method, and at which rank the true box stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from diffuprompt.grounding.contract import Batch, Detections, Detector, Expressions, Method
from diffuprompt.grounding.methods.batches import Maps, as_inputs, no_maps, placed
from diffuprompt.grounding.metrics import first_hit

BATCH = 32


def answers(
    detector: Detector,
    method: Method,
    expressions: Expressions,
    *,
    side: int,
    rows: Sequence[int] | None = None,
    maps: Maps = no_maps,
    batch: int = BATCH,
) -> list[Detections]:
    """Return the boxes of each expression, in pixels of a picture of ``side``.

    Args:
        detector: frozen.
        method: trained.
        expressions: the set.
        side: pictures are resized to it.
        rows: of the set; None: all.
        maps: gives `Inputs.maps` of rows.
        batch: expressions at once.
    """
    found = _answered(detector, method, expressions, side, rows, maps, batch)
    return [one for _, every in found for one in every]


def ranks(
    detector: Detector,
    method: Method,
    expressions: Expressions,
    *,
    side: int,
    rows: Sequence[int] | None = None,
    maps: Maps = no_maps,
    batch: int = BATCH,
    generalised: bool = False,
) -> list[int]:
    """Return `metrics.first_hit` of each expression; arguments are those of `answers`.

    ``generalised`` compares the generalised IoU, as Diff-Prompt's evaluator does. Overlaps do not
    depend on the resize, which stretches both boxes alike.
    """
    found = _answered(detector, method, expressions, side, rows, maps, batch)
    return [
        first_hit(one.boxes, truth, generalised=generalised)
        for read, every in found
        for one, truth in zip(every, read.boxes, strict=True)
    ]


def _answered(
    detector: Detector,
    method: Method,
    expressions: Expressions,
    side: int,
    rows: Sequence[int] | None,
    maps: Maps,
    size: int,
) -> Iterator[tuple[Batch, list[Detections]]]:
    chosen = range(len(expressions)) if rows is None else rows
    for start in range(0, len(chosen), size):
        own = list(chosen[start : start + size])
        with torch.inference_mode():
            batch, tokens = placed(detector, expressions.batch(own, side))
            adaptation = method(as_inputs(batch, tokens, maps(own)))
            answer = detector.run(batch.pixels, tokens, adaptation)
            found = detector.detect(answer, tokens, batch.roots, (side, side))
        yield batch, found
