"""S-Prompts (arXiv 2207.12819) in one domain: independent prompts of both towers.

Domain keys and their nearest neighbour have nothing to choose from where there is one domain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Sites, VisualPrompt
from diffuprompt.grounding.methods.layers import LearnedPrompts
from diffuprompt.grounding.methods.settings import Depth, Length, Settings


@dataclass(frozen=True, kw_only=True)
class SPromptsConfig(Settings):
    """``length`` prompts for each of the first ``depth`` layers of both towers."""

    depth: Depth = 6
    length: Length = 16


class SPrompts(Method):
    """Visual and text prompts that know nothing of each other."""

    def __init__(self, sites: Sites, config: SPromptsConfig, init: torch.Generator) -> None:
        super().__init__()
        self.visual = LearnedPrompts(sites.visual[: config.depth], config.length, init)
        self.textual = LearnedPrompts(sites.textual[: config.depth], config.length, init)

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return prompts of both towers."""
        batch = len(inputs.pixels)
        return Adaptation(
            visual=[VisualPrompt(tokens=own) for own in self.visual(batch)],
            textual=self.textual(batch),
        )
