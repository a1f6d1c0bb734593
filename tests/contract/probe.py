"""A learner that only the tests know: prompts in both towers, shallow and deep.

It proves the seam for methods that are not there yet: whatever runs over learners must run over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffuprompt.clip.model import Clip
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import PromptedTokens
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.method import Method
from diffuprompt.learners.options import Options
from diffuprompt.prompts import Prompts, PromptSpec, Slot


@dataclass(frozen=True, kw_only=True)
class ProbeOptions(Options):
    """What can be set of the probe."""

    num_ctx: int = 2

    @property
    def generates(self) -> bool:
        return True


class Probe(Learner):
    """Two text prompts and three vision prompts, each at layers 0 and 1."""

    options: ProbeOptions
    ctx_init = "a photo of a"

    def __init__(
        self,
        clip: Clip,
        options: ProbeOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(clip, options, plan=plan)
        self.free = nn.ParameterList(
            torch.randn(slot.shape(1), generator=generator) for slot in self.spec.slots
        )

    @property
    def spec(self) -> PromptSpec:
        config = self.clip.config
        shapes = (
            ("text", self.options.num_ctx, config.text.width),
            ("vision", 3, config.vision.width),
        )
        return PromptSpec(
            tuple(
                Slot(name=f"{tower}.{layer}", tower=tower, layer=layer, length=length, width=width)
                for layer in (0, 1)
                for tower, length, width in shapes
            )
        )

    def prompts(self, features_BE: Tensor) -> Prompts:
        return Prompts({s.name: p for s, p in zip(self.spec.slots, self.free, strict=True)})

    def tokens(self, classes: Classes) -> PromptedTokens:
        return classes.tokens(self.clip, prefix=self.ctx_init, num_ctx=self.options.num_ctx)


METHOD = Method(
    name="probe",
    title="Probe",
    about="Known to tests only.",
    options=ProbeOptions(),
    presets=(),
    learner=Probe,
)
