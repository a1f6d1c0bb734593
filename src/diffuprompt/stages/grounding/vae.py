"""The stage "mask-vae": masks to latents and back, trained on the masks of training expressions.

Legend: N expression; H, W pixels; C, h, w of a latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from diffuprompt.engine import torch_stream, train
from diffuprompt.grounding import (
    Expressions,
    MaskVae,
    VaeConfig,
    VaeFit,
    VaeTask,
    mask_iou,
    mean_latents,
)
from diffuprompt.runs import Stage, StageFolder, Values
from diffuprompt.stages.grounding.bench import GroundingBench

VERSION = 1
TENSORS = "vae.safetensors"
BATCH, SAMPLE = 64, 1024


def vae_stage(
    *, config: Mapping[str, Any], fit: Mapping[str, Any], seed: int, side: int, expressions: str
) -> Stage:
    """Return the stage of a Mask-VAE.

    Args:
        config: the fields of `VaeConfig`.
        fit: the fields of `VaeFit`.
        seed: of initial weights, order and noise.
        side: masks are resized to ``side x side``.
        expressions: hash of the training expressions.
    """
    return Stage(
        name="mask-vae",
        version=VERSION,
        config={"vae": dict(config), "fit": dict(fit), "seed": seed, "side": side},
        inputs={"expressions": expressions},
    )


def trained_vae(bench: GroundingBench, stage: Stage, expressions: Expressions) -> MaskVae:
    """Return the Mask-VAE of a stage, frozen; "iou" is that of training masks."""
    config, seed = stage.config, stage.config["seed"]
    vae = MaskVae(VaeConfig(**config["vae"]), generator=torch_stream(seed, "mask-vae"))
    vae.to(bench.device)

    def make(folder: StageFolder) -> Values:
        masks, fit = all_masks(expressions, bench.side), VaeFit(**config["fit"])
        values = train(
            VaeTask(vae, masks, batch=fit.batch, seed=seed),
            fit.optimiser(),
            **fit.plan(len(masks)),
            folder=folder.work,
            fingerprint=stage.key,
            save_every_s=bench.save_every_s,
            progress=bench.progress,
            label="Mask-VAE",
        )
        mean_latents(vae, masks, measure=True)
        folder.write(TENSORS, dict(vae.state_dict()))
        return {**values, "iou": _iou(vae, masks[:SAMPLE])}

    vae.load_state_dict(bench.store.made(stage, make).read(TENSORS))
    return vae.eval().requires_grad_(False)


def all_masks(expressions: Expressions, side: int) -> Tensor:
    """Return the masks of a set as uint8 ``(N, H, W)``, 255 inside."""
    found = []
    for rows in batches(len(expressions), BATCH):
        masks = expressions.batch(rows, side).masks
        assert masks is not None, "sets without masks are refused before"
        found.append((255 * masks).round().to(torch.uint8))
    return torch.cat(found)


def batches(total: int, size: int) -> Iterator[list[int]]:
    """Yield the rows 0 to ``total``, ``size`` at a time."""
    for start in range(0, total, size):
        yield list(range(start, min(start + size, total)))


@torch.no_grad()
def _iou(vae: MaskVae, masks_NHW: Tensor) -> float:
    """Return the mean IoU in per cent of masks with what is decoded of their means."""
    found = []
    for rows in batches(len(masks_NHW), BATCH):
        truth = masks_NHW[rows][:, None].to(vae.shift.device).float() / 255
        found.append(mask_iou(vae.decode(vae.encode(truth)[0])[:, 0], truth[:, 0]))
    return 100 * float(torch.cat(found).mean())
