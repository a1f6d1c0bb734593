"""The stage "mask-generator": p(mask latent given picture and caption), and its encoder's map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from diffuprompt.engine import torch_stream, train
from diffuprompt.grounding import (
    Condition,
    EncoderConfig,
    Expressions,
    GeneratorConfig,
    GeneratorFit,
    GeneratorTask,
    IndependentMasks,
    MaskGenerator,
    MaskVae,
    condition_of,
    joined,
    mean_latents,
)
from diffuprompt.runs import Stage, StageFolder, Values
from diffuprompt.stages.grounding.bench import GroundingBench
from diffuprompt.stages.grounding.vae import all_masks, batches

VERSION = 1
TENSORS = "generator.safetensors"
BATCH = 64
TOKENS = "tokens"
HOST = torch.device("cpu")
Kind = TypeVar("Kind", MaskGenerator, IndependentMasks)


def mask_generator_stage(
    *,
    config: Mapping[str, Any],
    fit: Mapping[str, Any],
    seed: int,
    side: int,
    expressions: str,
    detector: str,
    clip: str,
    vae: str,
    independent: bool = False,
) -> Stage:
    """Return the stage of a mask generator.

    Args:
        config: the fields of `GeneratorConfig`, or of `EncoderConfig` for an independent one.
        fit: the fields of `GeneratorFit`.
        seed: of initial weights, order and noise.
        side: pictures and masks are resized to ``side x side``.
        expressions: hash of those it is trained on.
        detector: hash of the detector whose tokens it reads; "" for pooled features.
        clip: identity of the CLIP whose features it reads; "" for tokens.
        vae: key of the Mask-VAE's stage; "" for an independent one.
        independent: whether it is the encoder alone, without diffusion.
    """
    inputs = {"expressions": expressions, "detector": detector, "clip": clip, "vae": vae}
    return Stage(
        name="independent-masks" if independent else "mask-generator",
        version=VERSION,
        config={"generator": dict(config), "fit": dict(fit), "seed": seed, "side": side},
        inputs={name: key for name, key in inputs.items() if key},
    )


def trained_generator(
    bench: GroundingBench,
    stage: Stage,
    expressions: Expressions,
    vae: MaskVae,
    sampling: Mapping[str, Any],
) -> MaskGenerator:
    """Return the generator of a stage, frozen; training needs the conditions of the whole set.

    ``sampling`` are the fields of `GeneratorConfig` that say how it is sampled.
    """
    config = dict(stage.config["generator"])
    encoder = EncoderConfig(**config.pop("encoder"))
    settings = GeneratorConfig(**config, **sampling, encoder=encoder)
    return _trained(
        bench,
        stage,
        expressions,
        vae,
        lambda widths, stream: MaskGenerator(settings, widths, generator=stream),
        kind=settings.condition,
        ema=settings.ema,
    )


def trained_independent(
    bench: GroundingBench, stage: Stage, expressions: Expressions
) -> IndependentMasks:
    """Return the encoder of a stage that was trained alone, frozen."""
    settings = EncoderConfig(**stage.config["generator"])
    return _trained(
        bench,
        stage,
        expressions,
        None,
        lambda widths, stream: IndependentMasks(settings, widths, generator=stream),
        kind=TOKENS,
        ema=GeneratorConfig().ema,
    )


def _trained(
    bench: GroundingBench,
    stage: Stage,
    expressions: Expressions,
    vae: MaskVae | None,
    build: Callable[[Mapping[str, int], torch.Generator], Kind],
    *,
    kind: str,
    ema: float,
) -> Kind:
    seed = stage.config["seed"]
    first = condition_of(bench.detector, bench.clip, expressions.batch([0], bench.side), kind)
    generator = build(first.widths(), torch_stream(seed, stage.name)).to(bench.device)

    def make(folder: StageFolder) -> Values:
        masks, fit = all_masks(expressions, bench.side), GeneratorFit(**stage.config["fit"])
        latents = torch.zeros(len(masks), 0) if vae is None else mean_latents(vae, masks)
        conditions = _conditions(bench, expressions, kind)
        task = GeneratorTask(
            generator, conditions, latents, masks, batch=fit.batch, seed=seed, ema=ema
        )
        values = train(
            task,
            fit.optimiser(),
            **fit.plan(len(masks)),
            folder=folder.work,
            fingerprint=stage.key,
            save_every_s=bench.save_every_s,
            progress=bench.progress,
            label=stage.name.replace("-", " "),
        )
        folder.write(TENSORS, task.averaged())
        return values

    generator.load_state_dict(bench.store.made(stage, make).read(TENSORS))
    return generator.eval().requires_grad_(False)


def _conditions(bench: GroundingBench, expressions: Expressions, kind: str) -> Condition:
    """Return the condition of a whole set in half precision, on the host."""
    with bench.progress.task("reading pictures and captions", total=len(expressions)) as shown:
        found = []
        for rows in batches(len(expressions), BATCH):
            batch = expressions.batch(rows, bench.side)
            read = condition_of(bench.detector, bench.clip, batch, kind)
            found.append(read.to(torch.float16, HOST))
            shown.advance(len(rows))
    return joined(found)
