"""MaPLe (arXiv 2210.03117): visual prompts are linear maps of the text prompts (its eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Sites, VisualPrompt
from diffuprompt.grounding.methods.layers import LearnedPrompts, linear
from diffuprompt.grounding.methods.settings import Depth, Length, Settings


@dataclass(frozen=True, kw_only=True)
class MapleConfig(Settings):
    """``length`` prompts for each of the first ``depth`` layers that both towers have."""

    depth: Depth = 4
    length: Length = 16


class Maple(Method):
    """Text prompts, and a linear map a layer to the block's width."""

    def __init__(self, sites: Sites, config: MapleConfig, init: torch.Generator) -> None:
        super().__init__()
        pairs = list(zip(sites.textual, sites.visual, strict=False))[: config.depth]
        self.textual = LearnedPrompts([text for text, _ in pairs], config.length, init)
        self.couple = nn.ModuleList(linear(text, image, init) for text, image in pairs)

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return coupled prompts of both towers."""
        textual = self.textual(len(inputs.pixels))
        visual = [couple(own) for couple, own in zip(self.couple, textual, strict=True)]
        return Adaptation(visual=[VisualPrompt(tokens=own) for own in visual], textual=textual)
