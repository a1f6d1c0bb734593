"""CLIP-LoRA (Zanella and Ben Ayed 2024, CVPR workshop, arXiv 2405.18541)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from diffuprompt.clip import SINGLE, ClipConfig
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.options import (
    LATER,
    Options,
    around,
    not_templates,
    refuse,
    spelled_out,
    too_few_words,
    too_long,
)
from diffuprompt.ranges import TOKENS, WEIGHT, WORDS, Range

if TYPE_CHECKING:
    from diffuprompt.clip import Encoder

FIRST_WORDS = "a photo of a"


@dataclass(frozen=True, kw_only=True)
class LoraOptions(Options):
    """Options of `diffuprompt.learners.lora_learner.ClipLora`.

    Attributes:
        rank: R, of every addition to queries, keys and values.
        alpha: the additions are multiplied by alpha / sqrt(R).
        dropout: share of what an addition reads that is dropped in training.
        num_ctx: M, tokens of a context that is learned beside (LoRA x CoOp); 0 for none.
        ctx_init: words that initialise the context; None draws from N(0, 0.02).
        templates: sentences of a class where there is no context, averaged.
    """

    rank: Annotated[int, Range(1, 1024)] = 2
    alpha: Annotated[float, WEIGHT] = 1.0
    dropout: Annotated[float, Range(0, 1, below=True)] = 0.25
    num_ctx: Annotated[int, TOKENS] = 0
    ctx_init: Annotated[str | None, WORDS] = FIRST_WORDS
    templates: list[str] = field(default_factory=lambda: [SINGLE], metadata=LATER)

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = not_templates(self.templates)
        if self.num_ctx and self.templates != [SINGLE]:
            problems.append(
                f"learner.templates: sentences are for num_ctx=0, got num_ctx={self.num_ctx}"
            )
        if not self.num_ctx and self.ctx_init != FIRST_WORDS:
            problems.append(
                f"learner.ctx_init: num_ctx=0 has no context to start, got {self.ctx_init!r}; set "
                "num_ctx too, or leave it out"
            )
        refuse(problems)

    @property
    def generates(self) -> bool:
        """Whether there is a context."""
        return self.num_ctx > 0

    @property
    def unread(self) -> str:
        """The templates, where a context stands in their place."""
        return "templates" if self.num_ctx else ""

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """A rank above a tower's width, or a context that does not fit."""
        problems = too_long(self.num_ctx, config)
        problems += too_few_words(self.num_ctx, self.ctx_init, tokenizer)
        most = min(config.text.width, config.vision.width)
        if self.rank > most:
            problems.append(
                f"learner.rank: expected at most {most}, the width of the narrower tower, got "
                f"{self.rank}"
            )
        return problems

    def tokens_ahead(self, tokenizer: Encoder) -> int:
        """M and what is left of the words, or those of the longest template."""
        if self.num_ctx:
            return max(self.num_ctx, len(tokenizer.encode(self.ctx_init or "")))
        return around(spelled_out(self.templates), tokenizer)


_FEW = Preset(
    learner="clip-lora",
    name="few-shot",
    train=TrainConfig(
        epochs=320,
        batch=32,
        lr=2e-4,
        weight_decay=1e-2,
        algorithm="adamw",
        schedule="cosine-floor",
    ),
    steps_per_shot=500,
    source="arXiv 2405.18541: 500 steps per shot, the same for all data sets",
)

METHOD = Method(
    name="clip-lora",
    title="CLIP-LoRA",
    learner="diffuprompt.learners.lora_learner:ClipLora",
    about="Low-rank additions to queries, keys and values in all layers of both towers.",
    options=LoraOptions(),
    templates_in="templates",
    presets=(
        _FEW,
        _FEW.named("base-to-new"),
        Preset(
            learner="clip-lora",
            name="lite",
            train=TrainConfig(
                epochs=40,
                batch=32,
                lr=4e-3,
                weight_decay=1e-2,
                views=4,
                algorithm="adamw",
                schedule="cosine",
            ),
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
)
