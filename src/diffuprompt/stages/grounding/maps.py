"""The stage "maps": what the prompts of every expression of a set are made of.

Legend: N expression, K kept steps; H, W of a map; C, h, w of a latent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from diffuprompt.errors import DataError
from diffuprompt.grounding import (
    Expressions,
    IndependentMasks,
    MapMaker,
    MapsConfig,
    MaskGenerator,
    MaskVae,
)
from diffuprompt.runs import Stage, StageFolder, Values
from diffuprompt.stages.grounding.bench import GroundingBench
from diffuprompt.stages.grounding.parts import in_parts

VERSION = 1
TENSORS, MAPS, SECONDS = "maps.safetensors", "maps", "seconds"
BATCH = 64
KEPT = torch.float16  # what a file keeps latents as


def maps_stage(
    *,
    config: MapsConfig,
    sampling: Mapping[str, Any],
    seed: int,
    side: int,
    expressions: str,
    generator: str,
    vae: str,
) -> Stage:
    """Return the stage of maps.

    Args:
        config: how they are made.
        sampling: how the generator is sampled; empty where it is not.
        seed: of the draws.
        side: of pictures.
        expressions: hash of those they are made for.
        generator: key of its stage; "" where none is read.
        vae: key of its stage; "" where nothing is decoded.
    """
    inputs = {"expressions": expressions, "generator": generator, "vae": vae}
    return Stage(
        name="maps",
        version=VERSION,
        config={"maps": asdict(config), "sampling": dict(sampling), "seed": seed, "side": side},
        inputs={name: key for name, key in inputs.items() if key},
    )


def made_maps(
    bench: GroundingBench,
    stage: Stage,
    expressions: Expressions,
    vae: MaskVae | None,
    generator: MaskGenerator | IndependentMasks | None,
) -> Tensor:
    """Return ``(N, K, H, W)`` uint8, 255 inside, or latents ``(N, K, C, h, w)`` in fp16."""
    maker = MapMaker(
        detector=bench.detector,
        clip=bench.clip,
        vae=vae,
        generator=generator,
        config=MapsConfig(**stage.config["maps"]),
        seed=stage.config["seed"],
        scope=stage.inputs["expressions"],
    )

    def compute(rows: list[int]) -> dict[str, Tensor]:
        start = time.monotonic()
        asked = _others(expressions, rows) if maker.config.source == "shuffled" else rows
        made = maker(expressions.batch(asked, bench.side), asked)
        kept = made.to(KEPT) if maker.config.latents else (255 * made).round().to(torch.uint8)
        stored = kept.cpu()  # waits for the device, whose time counts
        each = (time.monotonic() - start) / len(rows)
        return {MAPS: stored, SECONDS: torch.full((len(rows),), each)}

    def make(folder: StageFolder) -> Values:
        found = in_parts(
            compute,
            len(expressions),
            batch=BATCH,
            folder=folder.work,
            progress=bench.progress,
            label=f"maps ({maker.config.source})",
            save_every_s=bench.save_every_s,
        )
        seconds = float(found.pop(SECONDS).sum())
        folder.write(TENSORS, found)
        return {"seconds": seconds, "ms": 1000 * seconds / len(expressions)}

    return bench.store.made(stage, make).read(TENSORS)[MAPS]


def reader(stored: Tensor) -> Callable[[Sequence[int]], Tensor]:
    """Return what gives `Inputs.maps` of rows: maps in 0..1, or latents."""

    def read(rows: Sequence[int]) -> Tensor:
        own = stored[torch.as_tensor(rows)]
        return own.float() / 255 if stored.dtype == torch.uint8 else own.float()

    return read


def _others(expressions: Expressions, rows: Sequence[int]) -> list[int]:
    """Return for each row one that is half a set away and of another picture.

    Raises:
        DataError: there is only one picture.
    """
    total = len(expressions)
    found = []
    for row in rows:
        other = (row + total // 2) % total
        while expressions[other].picture == expressions[row].picture and other != row:
            other = (other + 1) % total
        if other == row:
            raise DataError("shuffled masks are those of other pictures, and there is only one")
        found.append(other)
    return found
