"""The record of a run: what its stages and its scores have measured."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from diffuprompt.engine import environment, peak_memory_mib
from diffuprompt.hub import Artifact
from diffuprompt.jobs.command import command
from diffuprompt.jobs.prepared import Prepared
from diffuprompt.jobs.run_folder import Run, RunFolder
from diffuprompt.record import Record, Score, Variant
from diffuprompt.stages import Bench

MEASURED = ("overfit_", "normaliser_", "generated_", "amed_")
# stages by the names that records have always had for them
LEARNER, OVERFIT = "learner", "overfit"
PEAK = "peak_memory_mib"


def make_record(
    *,
    bench: Bench,
    prepared: Prepared,
    run: Run,
    folder: RunFolder,
    artifact: Artifact,
    scores: Sequence[Score],
    seconds: float,
) -> Record:
    """Gather everything; ``seconds`` is what all scores took."""
    resolved, values = run.resolved, folder.stage_values()
    learner, generator = artifact.learner, artifact.generator
    statistics = {k: v for of in values.values() for k, v in of.items() if k.startswith(MEASURED)}
    device = bench.clip.device
    fitted = artifact.description.calibration
    peak = max([peak_memory_mib(device), *(of.get(PEAK, 0.0) for of in values.values())])
    return Record(
        job=run.record_job,
        scores=tuple(scores),
        trainable_parameters=_size(learner) + (_size(generator) if generator else 0),
        seconds={**_seconds(values, resolved.generator), "evaluate": seconds},
        statistics={
            **statistics,
            **_speed(scores),
            **(fitted.measured if fitted else {}),
            PEAK: peak,
        },
        hashes={
            **prepared.hashes,
            **{f"content_{name}": value for name, value in prepared.inputs.items()},
            "spec": learner.spec.hash,
        },
        environment=environment(device),
        config=resolved.to_json(),
        command=command(run.job),
    )


def _seconds(values: dict[str, dict[str, float]], generator: str) -> dict[str, float]:
    """Return the wall seconds of training: learner, overfitting, and all of the generator."""
    spent: dict[str, float] = {}
    for stage, of in values.items():
        if "seconds" in of:
            name = stage if stage in (LEARNER, OVERFIT) else generator
            spent[name] = spent.get(name, 0.0) + of["seconds"]
    return spent


def _speed(scores: Sequence[Score]) -> dict[str, float]:
    """Images per second with the learner's own prompts, where this was timed."""
    timed = [
        (s.timings["classify_ms"], s.total)
        for s in scores
        if s.variant == Variant.own() and s.timings.get("classify_ms")
    ]
    seconds = sum(each * total for each, total in timed) / 1000
    return {"images_per_second": sum(n for _, n in timed) / seconds} if timed else {}


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
