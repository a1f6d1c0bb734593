"""CLIP-LoRA: low-rank additions to attention in both towers (Zanella and Ben Ayed 2024).

Legend: B image, M context tokens, D width, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffuprompt.clip import Clip, PromptedTokens, TextPlan
from diffuprompt.learners.base import initial_context
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.clip_lora import LoraOptions
from diffuprompt.learners.options import spelled_out
from diffuprompt.learners.tower_changes import LowRankPairs
from diffuprompt.learners.tuned_towers import Changes, TunedTowers
from diffuprompt.prompts import Prompts, PromptSpec, Slot, Tower


class ClipLora(TunedTowers):
    """``W x + alpha / sqrt(R) up down x`` for queries, keys and values of all layers.

    The factor is the released code's; the paper prints ``alpha / R``. With ``num_ctx`` above 0 a
    context is learned beside the pairs and stands in the place of the template (LoRA x CoOp): it
    is what may be generated, and the text tower that reads it is the changed one.
    """

    options: LoraOptions

    def __init__(
        self,
        clip: Clip,
        options: LoraOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`."""
        super().__init__(clip, options, plan=plan)
        self.pairs = nn.ModuleDict(
            {
                "text": LowRankPairs(clip.config.text, options.rank, generator),
                "vision": LowRankPairs(clip.config.vision, options.rank, generator),
            }
        )
        self.ctx: nn.Parameter | None = None
        if options.num_ctx:
            ctx = initial_context(clip, options.num_ctx, options.ctx_init, generator)
            self.ctx = nn.Parameter(ctx)
        self.to(clip.device)

    @property
    def templates(self) -> list[str]:
        """The options', an ensemble's name replaced by its templates."""
        return spelled_out(self.options.templates)

    @property
    def spec(self) -> PromptSpec:
        """The context's slot, where there is one."""
        if self.ctx is None:
            return PromptSpec()
        length, width = self.ctx.shape
        return PromptSpec((Slot(name="text.0", tower="text", layer=0, length=length, width=width),))

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return the context as ``(1, 1, M, D)``, or nothing."""
        return Prompts({} if self.ctx is None else {"text.0": self.ctx[None, None]})

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the names behind the context, or the sentences of the first template."""
        options = self.options
        if self.ctx is None:
            return classes.sentences(self.clip, self.templates[0])
        return classes.tokens(self.clip, prefix=options.ctx_init, num_ctx=options.num_ctx)

    def changes(self, generator: torch.Generator | None = None) -> Changes:
        """Return the pairs of both towers, read through dropout where a generator is given."""
        options, dtype = self.options, self.clip.logit_scale.dtype
        scale = options.alpha * options.rank**-0.5

        def of(tower: Tower) -> LowRankPairs:
            pairs = self.pairs[tower]
            assert isinstance(pairs, LowRankPairs)
            return pairs

        towers: tuple[Tower, Tower] = ("text", "vision")
        return {t: of(t).change(scale, dtype, options.dropout, generator) for t in towers}
