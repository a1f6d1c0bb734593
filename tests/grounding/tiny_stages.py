"""Stages 1 and 2 with random weights, for the toy detector."""

from __future__ import annotations

from typing import Any

import torch
from tests.grounding.mask_parts import SMALL, stream
from tests.grounding.toy_detector import SIDE
from torch import nn

from diffuprompt.grounding.conditioning import condition_of
from diffuprompt.grounding.contract import Detector, Expressions
from diffuprompt.grounding.maps import MapMaker, MapsConfig
from diffuprompt.grounding.masks.encoder import EncoderConfig
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.independent import IndependentMasks
from diffuprompt.grounding.masks.mask_vae import MaskVae, VaeConfig
from diffuprompt.grounding.masks.settings import GeneratorConfig

KEPT = 2  # maps of a trajectory


def shaken(module: nn.Module) -> nn.Module:
    """Let networks that begin at zero say something."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=stream(7)))
    return module.eval().requires_grad_(False)


def vae_of() -> MaskVae:
    vae = MaskVae(VaeConfig(), generator=stream(3))
    vae.latent_scale.fill_(0.7)
    vae.shift.copy_(torch.arange(4) / 10)
    shaken(vae)
    return vae


def generator_for(detector: Detector, expressions: Expressions) -> MaskGenerator:
    first = condition_of(detector, None, expressions.batch([0], SIDE), "tokens")
    config = GeneratorConfig(encoder=EncoderConfig(**SMALL), kept=KEPT, nfe=2, **SMALL)
    made = MaskGenerator(config, first.widths(), generator=stream(4))
    shaken(made)
    return made


def independent_for(detector: Detector, expressions: Expressions) -> IndependentMasks:
    first = condition_of(detector, None, expressions.batch([0], SIDE), "tokens")
    made = IndependentMasks(EncoderConfig(**SMALL), first.widths(), generator=stream(5))
    shaken(made)
    return made


def maker_of(
    detector: Detector, vae: MaskVae | None, generator: Any, seed: int = 1, **config: Any
) -> MapMaker:
    return MapMaker(
        detector=detector, clip=None, vae=vae, generator=generator,
        config=MapsConfig(**{"kept": KEPT, **config}), seed=seed, scope="toy",
    )  # fmt: skip
