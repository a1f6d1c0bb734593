"""The stage "grounding-score": at which rank a method finds the object of every expression.

Legend: N expression, K kept steps; H, W of a map.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffuprompt.grounding import (
    Batch,
    Detections,
    Expressions,
    MaskVae,
    Method,
    boxes_of_map,
    decoded,
    detected,
    first_hit,
    mask_iou,
    stored,
)
from diffuprompt.runs import Stage, StageFolder, Values
from diffuprompt.stages.grounding.bench import GroundingBench
from diffuprompt.stages.grounding.maps import reader
from diffuprompt.stages.grounding.parts import in_parts

VERSION = 2
TENSORS = "scores.safetensors"
BATCH = 32
RANK, GIOU_RANK, MASK_IOU, DETECT = "rank", "giou_rank", "mask_iou", "detect_ms"
MAPS_NDIM = 4  # of masks (B, K, H, W); latents have channels, too
MOST = 254  # ranks beyond it count as the last one


@dataclass(frozen=True, kw_only=True)
class Found:
    """What became of every expression, in the order of the set.

    Attributes:
        ranks: place of the first good box; -1 for none.
        giou_ranks: the same under the generalised IoU.
        mask_ious: of the first map with the true mask; None without maps or masks.
        detect_ms: wall milliseconds per expression of the method and the detector.
    """

    ranks: list[int]
    giou_ranks: list[int]
    mask_ious: list[float] | None
    detect_ms: float


def grounding_score_stage(
    *, side: int, expressions: str, detector: str, method: str, maps: str
) -> Stage:
    """Return the stage of a score.

    Args:
        side: pictures are resized to ``side x side``.
        expressions: hash of the test set.
        detector: hash of the frozen detector; "" where boxes are read from maps alone.
        method: key of its stage; "" likewise.
        maps: key of the stage of the test set's maps; "" where none are read.
    """
    inputs = {"expressions": expressions, "detector": detector, "method": method, "maps": maps}
    return Stage(
        name="grounding-score",
        version=VERSION,
        config={"side": side},
        inputs={role: key for role, key in inputs.items() if key},
    )


def scored_expressions(
    bench: GroundingBench,
    stage: Stage,
    expressions: Expressions,
    method: Method | None,
    maps: Tensor | None,
    *,
    label: str,
    vae: MaskVae | None = None,
) -> Found:
    """Return what was found; computed here where nobody has yet.

    Args:
        bench: detector and store.
        stage: see `grounding_score_stage`.
        expressions: the test set.
        method: adapts the detector; None reads boxes from the maps.
        maps: of the test set; None where none are read.
        label: what is scored, for people.
        vae: shows what maps that are latents look like; None where there are none.
    """

    def make(folder: StageFolder) -> Values:
        found = in_parts(
            _scorer(bench, expressions, method, maps, vae),
            len(expressions),
            batch=BATCH,
            folder=folder.work,
            progress=bench.progress,
            label=label,
            save_every_s=bench.save_every_s,
        )
        seconds = found.pop(DETECT)
        folder.write(TENSORS, found)
        return {DETECT: 1000 * float(seconds.sum()) / len(expressions)}

    folder = bench.store.made(stage, make)
    found = folder.read(TENSORS)
    ious = found.get(MASK_IOU)
    return Found(
        ranks=found[RANK].tolist(),
        giou_ranks=found[GIOU_RANK].tolist(),
        mask_ious=None if ious is None else ious.tolist(),
        detect_ms=folder.values()[DETECT],
    )


def _scorer(
    bench: GroundingBench,
    expressions: Expressions,
    method: Method | None,
    maps: Tensor | None,
    vae: MaskVae | None,
) -> Callable[[list[int]], dict[str, Tensor]]:
    read = None if maps is None else reader(maps)

    def score(rows: list[int]) -> dict[str, Tensor]:
        batch = expressions.batch(rows, bench.side)
        own = None if read is None else read(rows)
        start = time.monotonic()
        found: Sequence[Detections]
        if method is None:
            assert own is not None
            found = [boxes_of_map(one[0], bench.side) for one in own]
        else:
            found = detected(bench.detector, method, batch, own)
        seconds = torch.full((len(rows),), (time.monotonic() - start) / len(rows))
        columns = {
            RANK: _ranks(found, batch, generalised=False),
            GIOU_RANK: _ranks(found, batch, generalised=True),
            DETECT: seconds,
        }
        if own is not None and batch.masks is not None:
            columns[MASK_IOU] = mask_iou(_cleanest(own, vae), batch.masks)
        return columns

    return score


@torch.no_grad()
def _cleanest(maps: Tensor, vae: MaskVae | None) -> Tensor:
    """Return the first map of each expression ``(B, H, W)``, of latents too."""
    if maps.ndim == MAPS_NDIM:
        return maps[:, 0]
    assert vae is not None
    return stored(decoded(vae, maps[:, :1]))[:, 0].cpu()


def _ranks(found: Sequence[Detections], batch: Batch, *, generalised: bool) -> Tensor:
    ranks = [
        first_hit(one.boxes, truth, generalised=generalised)
        for one, truth in zip(found, batch.boxes, strict=True)
    ]
    return torch.tensor(ranks, dtype=torch.int16).clamp(max=MOST)
