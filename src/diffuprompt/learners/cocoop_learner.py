"""CoCoOp: a context shifted by every image (Zhou et al. 2022, CVPR).

Legend: B image, M context tokens, D width, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffuprompt.clip import Clip, PromptedTokens, TextPlan
from diffuprompt.learners.base import Learner, initial_context, linear, unit
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.cocoop import CoCoOpOptions
from diffuprompt.prompts import Prompts, PromptSpec, Slot

REDUCTION = 16


class MetaNet(nn.Module):
    """``Linear(E, E // 16), ReLU, Linear(E // 16, D)``: image feature to context shift."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        hidden = max(inputs // REDUCTION, 1)
        self.linear1 = linear(inputs, hidden, generator)
        self.linear2 = linear(hidden, outputs, generator)

    def forward(self, x_BE: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, D)``."""
        return self.linear2(torch.relu(self.linear1(x_BE)))


class CoCoOp(Learner):
    """One context for all classes, plus the same shift on all its tokens from the image's feature.

    What may be generated is ``ctx + shift`` of an image as one free tensor: generated prompts
    replace both (prompt diffusion reference, 1.3 row 5).
    """

    options: CoCoOpOptions

    def __init__(
        self,
        clip: Clip,
        options: CoCoOpOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`."""
        super().__init__(clip, options, plan=plan)
        ctx = initial_context(clip, options.num_ctx, options.ctx_init, generator)
        self.ctx = nn.Parameter(ctx.to(clip.device))
        self.meta_net = MetaNet(clip.config.embed_dim, clip.config.text.width, generator)
        self.meta_net.to(clip.device)

    @property
    def spec(self) -> PromptSpec:
        """One text slot at layer 0, per image."""
        length, width = self.ctx.shape
        return PromptSpec((Slot(name="text.0", tower="text", layer=0, length=length, width=width),))

    @property
    def own_prompts_need_image(self) -> bool:
        """Always."""
        return True

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return ``ctx + meta_net(unit feature)`` as ``(B, 1, M, D)``."""
        shift_BD = self.meta_net(unit(features_BE, self.ctx.dtype))
        return Prompts({"text.0": (self.ctx + shift_BD[:, None])[:, None]})

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the names behind the context."""
        options = self.options
        return classes.tokens(self.clip, prefix=options.ctx_init, num_ctx=options.num_ctx)
