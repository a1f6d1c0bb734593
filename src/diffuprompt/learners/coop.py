"""CoOp: context vectors in the place of the words around a class name (Zhou et al. 2022, IJCV).

Legend: B image, C class, M context tokens, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.clip.model import Clip
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import Position, PromptedTokens
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import Learner, initial_context
from diffuprompt.learners.classes import Classes
from diffuprompt.prompts import Prompts, PromptSpec, Slot


class CoOp(Learner):
    """Learn M context vectors, one set for all classes or one a class (CSC).

    Unlike the authors' code, words can initialise class-specific contexts too, and M is counted in
    tokens, not in words.
    """

    name = "coop"

    def __init__(
        self,
        clip: Clip,
        *,
        num_ctx: int = 16,
        ctx_init: str | None = None,
        position: Position = "end",
        class_specific: int = 0,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner.

        Args:
            clip: frozen backbone.
            num_ctx: M.
            ctx_init: words that initialise the context; None draws from N(0, 0.02).
            position: where the class name stands: "end", "middle" or "front" of the context.
            class_specific: number of classes with a context of their own; 0 shares one context.
            plan: how text features are computed.
            generator: source of the random initial values.
        """
        super().__init__(clip, plan)
        self.num_ctx, self.ctx_init = num_ctx, ctx_init
        self.position, self.class_specific = position, class_specific
        width, count = clip.config.text.width, max(class_specific, 1)
        if ctx_init is None:
            ctx = torch.randn(count, num_ctx, width, generator=generator) * 0.02
        else:
            ctx = initial_context(clip, num_ctx, ctx_init, generator).repeat(count, 1, 1)
        self.ctx = nn.Parameter(ctx.to(clip.device))

    @property
    def spec(self) -> PromptSpec:
        """One text slot at layer 0."""
        count, length, width = self.ctx.shape
        slot = Slot(name="text.0", tower="text", layer=0, length=length, width=width, classes=count)
        return PromptSpec((slot,))

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return ``ctx`` as ``(1, C|1, M, D)``."""
        return Prompts({"text.0": self.ctx[None]})

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the names at the chosen position of the context."""
        if self.class_specific and self.class_specific != len(classes):
            raise ConfigError(
                f"class_specific contexts were learned for {self.class_specific} classes and "
                f"cannot score {len(classes)}; a shared context (class_specific=0) can"
            )
        return classes.tokens(
            self.clip, prefix=self.ctx_init, num_ctx=self.num_ctx, position=self.position
        )

    def config(self) -> dict[str, Any]:
        """Return what builds an equal learner."""
        return {
            "num_ctx": self.num_ctx,
            "ctx_init": self.ctx_init,
            "position": self.position,
            "class_specific": self.class_specific,
        }
