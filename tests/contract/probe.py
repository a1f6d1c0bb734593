"""A learner that only the tests know: prompts in both towers, shallow and deep.

It proves the seam for methods that are not there yet: whatever runs over learners must run over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from diffuprompt.checkpoints.tokenizer import Tokenizer
from diffuprompt.clip.config import ClipConfig
from diffuprompt.clip.model import Clip
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import PromptedTokens
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.method import Method
from diffuprompt.prompts import Prompts, PromptSpec, Slot


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """What can be set of the probe."""

    num_ctx: int = 2

    generates: ClassVar[bool] = True
    asks_for_sentences: ClassVar[Literal["no"]] = "no"

    def misfits(self, config: ClipConfig, tokenizer: Tokenizer) -> list[str]:
        return []


class Probe(Learner):
    """Two text prompts and three vision prompts, each at layers 0 and 1."""

    name = "probe"
    ctx_init = "a photo of a"

    def __init__(
        self,
        clip: Clip,
        *,
        num_ctx: int = 2,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(clip, plan)
        self.num_ctx = num_ctx
        self.free = nn.ParameterList(
            torch.randn(slot.shape(1), generator=generator) for slot in self.spec.slots
        )

    @property
    def spec(self) -> PromptSpec:
        config = self.clip.config
        shapes = (("text", self.num_ctx, config.text.width), ("vision", 3, config.vision.width))
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
        return classes.tokens(self.clip, prefix=self.ctx_init, num_ctx=self.num_ctx)

    def config(self) -> dict[str, Any]:
        return {"num_ctx": self.num_ctx}


METHOD = Method(
    name="probe", title="Probe", about="Known to tests only.", options=ProbeOptions(), presets=()
)
