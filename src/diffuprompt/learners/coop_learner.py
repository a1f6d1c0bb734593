"""CoOp: context vectors in the place of the words around a class name (Zhou et al. 2022, IJCV).

Legend: B image, C class, M context tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffuprompt.clip import Clip, PromptedTokens, TextPlan
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import Learner, initial_context
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.coop import CoOpOptions
from diffuprompt.prompts import Prompts, PromptSpec, Slot


class CoOp(Learner):
    """Learn M context vectors, one set for all classes or one per class (CSC).

    Unlike the authors' code, words can initialise class-specific contexts too, and M is counted in
    tokens, not in words.
    """

    options: CoOpOptions

    def __init__(
        self,
        clip: Clip,
        options: CoOpOptions,
        *,
        plan: TextPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the learner; arguments as in `Learner`.

        Raises:
            ConfigError: class-specific contexts of an unknown number of classes, or too few words.
        """
        super().__init__(clip, options, plan=plan)
        if options.class_specific and not options.num_classes:
            raise ConfigError(
                "learner.num_classes: class-specific contexts are built for a class list, got "
                "none; build the learner with options.for_classes(names)"
            )
        num_ctx, words = options.num_ctx, options.ctx_init
        width, count = clip.config.text.width, options.num_classes or 1
        if words is None:
            ctx = torch.randn(count, num_ctx, width, generator=generator) * 0.02
        else:
            ctx = initial_context(clip, num_ctx, words, generator).repeat(count, 1, 1)
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
        options = self.options
        if options.class_specific and options.num_classes != len(classes):
            raise ConfigError(
                f"class-specific contexts were learned for {options.num_classes} classes and "
                f"cannot score {len(classes)}; a shared context (class_specific=false) can"
            )
        return classes.tokens(
            self.clip, prefix=options.ctx_init, num_ctx=options.num_ctx, position=options.position
        )
