"""VPT (arXiv 2203.12119) and VFPT (arXiv 2411.01327): learned prompts of the image tower's blocks.

VFPT passes a share of the prompts through a Fourier transform over prompts and channels, and keeps
the real part (its eq. 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Sites, VisualPrompt
from diffuprompt.grounding.methods.layers import LearnedPrompts
from diffuprompt.grounding.methods.settings import Depth, Length, Settings, Share


@dataclass(frozen=True, kw_only=True)
class VptConfig(Settings):
    """``length`` prompts for each of the first ``depth`` blocks; depth 1 is VPT-shallow.

    ``fourier`` is the share of prompts that are transformed: 0 in VPT, above 0 in VFPT.
    """

    depth: Depth = 6
    length: Length = 16
    fourier: Share = 0.0


class Vpt(Method):
    """Visual prompts that are the same for every picture."""

    def __init__(self, sites: Sites, config: VptConfig, init: torch.Generator) -> None:
        super().__init__()
        self.num_fourier = round(config.fourier * config.length)
        self.visual = LearnedPrompts(sites.visual[: config.depth], config.length, init)

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return visual prompts."""
        prompts = [self._mixed(own) for own in self.visual(len(inputs.pixels))]
        return Adaptation(visual=[VisualPrompt(tokens=own) for own in prompts])

    def _mixed(self, prompts_BPC: Tensor) -> Tensor:
        if not self.num_fourier:
            return prompts_BPC
        parts = prompts_BPC.split([self.num_fourier, prompts_BPC.shape[1] - self.num_fourier], 1)
        # "ortho" keeps the prompts' scale, which the plain transform multiplies by sqrt(P * C).
        return torch.cat([torch.fft.fft2(parts[0], norm="ortho").real, parts[1]], 1)
