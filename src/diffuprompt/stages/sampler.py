"""The stage "sampler": what sampling a trained generator in one way needs, and how good it is.

AMED is fitted here, once per network and number of evaluations; other samplers need no fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from diffuprompt.generators import PromptGenerator, PromptPairs, quality
from diffuprompt.runs import Stage, StageFolder, Store, Values
from diffuprompt.stages.bench import Bench

VERSION = 1
TENSORS = "solver.safetensors"


def sampler_stage(*, settings: Mapping[str, Any], nfe: int | None, generator: str) -> Stage:
    """Return the stage of one way of sampling.

    Args:
        settings: those of the generator that decide how it is sampled.
        nfe: evaluations in the place of the configured number; None for that one.
        generator: key of the stage that trained the network.
    """
    values = dict(settings) if nfe is None else {**settings, "nfe": nfe}
    return Stage(name="sampler", version=VERSION, config=values, inputs={"generator": generator})


def ready_sampler(
    bench: Bench,
    store: Store,
    stage: Stage,
    generator: PromptGenerator,
    features: Tensor,
    pairs: Callable[[], PromptPairs],
) -> StageFolder:
    """Make ``generator`` ready to be sampled in the stage's way; fitted here if nobody has yet.

    Args:
        bench: what shows progress.
        store: where it is kept.
        stage: see `sampler_stage`.
        generator: trained; its solver is filled in.
        features: of the training images.
        pairs: returns training images with V*, on which quality is measured.
    """
    nfe = stage.config.get("nfe")

    def make(folder: StageFolder) -> Values:
        values = generator.fit_solver(
            features,
            nfe=nfe,
            folder=folder.work,
            fingerprint=stage.key,
            save_every_s=bench.save_every_s,
            progress=bench.progress,
        )
        solver = generator.solver(nfe)
        if solver is not None:
            folder.write(TENSORS, dict(solver.state_dict()))
        sampling = {} if nfe is None else {"nfe": nfe}
        return {**values, **quality(generator, pairs(), **sampling)}

    folder = store.made(stage, make)
    solver = generator.solver(nfe)
    if solver is not None:
        solver.load_state_dict(folder.read(TENSORS))
        solver.requires_grad_(False)
    return folder
