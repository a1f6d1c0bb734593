"""The stage "mask-generator": p(mask latent given picture and caption), and its encoder's map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from diffuprompt.engine import torch_stream, train
from diffuprompt.grounding import (
    Averaged,
    Condition,
    EncoderConfig,
    Expressions,
    GeneratorConfig,
    GeneratorFit,
    GeneratorTask,
    IndependentMasks,
    MaskEncoder,
    MaskGenerator,
    MaskVae,
    NetworkTask,
    TokensCondition,
    Told,
    condition_of,
    joined,
    mean_latents,
    told_by,
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
    settings = GeneratorConfig.from_json({**stage.config["generator"], **sampling})
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
        masks = all_masks(expressions, bench.side)
        fit = GeneratorFit.from_json(stage.config["fit"])
        latents = torch.zeros(len(masks), 0) if vae is None else mean_latents(vae, masks)
        conditions = _conditions(bench, expressions, kind)
        shared = {"batch": fit.batch, "seed": seed, "ema": ema}

        def trained(task: Averaged, fit: GeneratorFit, work: Path, label: str) -> Values:
            return train(
                task,
                fit.optimiser(),
                **fit.plan(len(masks)),
                folder=work,
                fingerprint=stage.key,
                save_every_s=bench.save_every_s,
                progress=bench.progress,
                label=label,
            )

        label = stage.name.replace("-", " ")
        if not fit.encoder_steps:
            task: Averaged = GeneratorTask(generator, conditions, latents, masks, **shared)
            values = trained(task, fit, folder.work, label)
        else:
            network: MaskGenerator | IndependentMasks = generator
            assert isinstance(network, MaskGenerator)
            assert network.encoder is not None
            alone = IndependentMasks(
                network.config.encoder, network.widths, generator=torch_stream(seed, "encoder")
            ).to(bench.device)
            first = GeneratorTask(alone, conditions, latents, masks, **shared)
            before = trained(first, fit.of_encoder(), folder.work / "encoder", "mask encoder")
            alone.load_state_dict(first.averaged())
            network.encoder.load_state_dict(alone.encoder.state_dict())
            assert isinstance(conditions, TokensCondition)
            told = _told(bench, network.encoder, conditions)
            task = NetworkTask(network, told, latents, **shared)
            values = _both(before, trained(task, fit, folder.work, label))
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


@torch.no_grad()
def _told(bench: GroundingBench, encoder: MaskEncoder, conditions: TokensCondition) -> Told:
    """Return what the encoder says of a whole set in half precision, on the host."""
    with bench.progress.task("reading with the encoder", total=len(conditions)) as shown:
        found = []
        for rows in batches(len(conditions), BATCH):
            some = conditions.rows(torch.tensor(rows)).to(torch.float32, bench.device)
            found.append(told_by(encoder(some)).to(torch.float16, HOST))
            shown.advance(len(rows))
    return joined(found)


def _both(encoder: Values, network: Values) -> Values:
    """Return what both trainings measured: terms of each, and steps and seconds together."""
    together = {name: encoder[name] + network[name] for name in ("steps", "seconds")}
    return {**encoder, **network, **together}
