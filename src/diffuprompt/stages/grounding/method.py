"""The stage "grounding-method": what adapts a frozen detector, trained on expressions and boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from diffuprompt.engine import peak_memory_mib
from diffuprompt.grounding import (
    Batch,
    Expressions,
    Method,
    MethodFit,
    MethodTask,
    fit_method,
    make_method,
    no_maps,
)
from diffuprompt.runs import Stage, StageFolder, Values
from diffuprompt.stages.grounding.bench import GroundingBench
from diffuprompt.stages.grounding.maps import reader
from diffuprompt.stages.grounding.vae import batches

VERSION = 1
TENSORS = "method.safetensors"
BATCH = 64


def method_stage(
    *,
    name: str,
    settings: Mapping[str, Any],
    fit: Mapping[str, Any],
    seed: int,
    side: int,
    expressions: str,
    detector: str,
    maps: str,
) -> Stage:
    """Return the stage of a method.

    Args:
        name: of the method.
        settings: what differs from its defaults.
        fit: the fields of `MethodFit`.
        seed: of initial weights and order.
        side: pictures are resized to ``side x side``.
        expressions: hash of those it learns from.
        detector: hash of the frozen detector.
        maps: key of the stage of its maps; "" where it reads none.
    """
    inputs = {"expressions": expressions, "detector": detector, "maps": maps}
    return Stage(
        name="grounding-method",
        version=VERSION,
        config={
            "method": name,
            "settings": dict(settings),
            "fit": dict(fit),
            "seed": seed,
            "side": side,
        },
        inputs={role: key for role, key in inputs.items() if key},
    )


def trained_method(
    bench: GroundingBench, stage: Stage, expressions: Expressions, maps: Tensor | None
) -> Method:
    """Return the method of a stage, frozen; ``maps`` are of the same expressions."""
    config = stage.config
    method = make_method(config["method"], bench.detector, config["settings"], config["seed"])
    method.to(bench.device)

    def make(folder: StageFolder) -> Values:
        read = no_maps if maps is None else reader(maps)
        method.prepare(bench.detector, lambda: _batches(expressions, bench.side))
        task = MethodTask(
            method,
            bench.detector,
            expressions,
            side=bench.side,
            batch=config["fit"]["batch"],
            seed=config["seed"],
            maps=read,
        )
        values = fit_method(
            task,
            MethodFit(**config["fit"]),
            folder=folder.work,
            fingerprint=stage.key,
            save_every_s=bench.save_every_s,
            progress=bench.progress,
            label=config["method"],
        )
        folder.write(TENSORS, dict(method.state_dict()))
        return {**values, "peak_memory_mib": peak_memory_mib(bench.device)}

    method.load_state_dict(bench.store.made(stage, make).read(TENSORS))
    return method.eval().requires_grad_(False)


def _batches(expressions: Expressions, side: int) -> Iterator[Batch]:
    for rows in batches(len(expressions), BATCH):
        yield expressions.batch(rows, side)
