"""CoOp (arXiv 2109.01134) as Diff-Prompt's release attaches it: learned prompts of text layers.

CoOp itself learns words at the text tower's input. The release learns prompts of each layer, whose
outputs are dropped, and so does this: depth 1 is what is nearest to CoOp's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Sites
from diffuprompt.grounding.methods.layers import LearnedPrompts
from diffuprompt.grounding.methods.settings import Depth, Length, Settings


@dataclass(frozen=True, kw_only=True)
class CoopConfig(Settings):
    """``length`` prompts for each of the first ``depth`` text layers; the release: 8 and 9."""

    depth: Depth = 4
    length: Length = 16


class Coop(Method):
    """Text prompts that are the same for every expression."""

    def __init__(self, sites: Sites, config: CoopConfig, init: torch.Generator) -> None:
        super().__init__()
        self.textual = LearnedPrompts(sites.textual[: config.depth], config.length, init)

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return text prompts."""
        return Adaptation(textual=self.textual(len(inputs.pixels)))
