"""The frozen detector, as a method."""

from __future__ import annotations

import torch

from diffuprompt.grounding.contract import UNCHANGED, Adaptation, Inputs, Method, Sites
from diffuprompt.grounding.methods.settings import Settings


class ZeroShot(Method):
    """Adds nothing and learns nothing."""

    def __init__(self, sites: Sites, config: Settings, init: torch.Generator) -> None:
        super().__init__()

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return the empty adaptation."""
        return UNCHANGED
