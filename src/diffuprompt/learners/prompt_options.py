"""The options of deep prompts: every published method of them is one setting of these; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from diffuprompt.clip import ENSEMBLES, SINGLE, ClipConfig
from diffuprompt.errors import near_miss
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
from diffuprompt.ranges import LAYERS, SHARE, TOKENS, WEIGHT, WORDS, Range

if TYPE_CHECKING:
    from diffuprompt.clip import Encoder

MOST_WORDS = 4  # with more tokens than this, the repositories start from random vectors


@dataclass(frozen=True, kw_only=True)
class PromptOptions(Options):
    """Prompts x losses: every published method of deep prompts is one setting of these.

    Prompts:
        prompts: "independent" (each tower its own) or "coupled" (the image tower's are linear
            functions of the text tower's: MaPLe).
        num_ctx: M, text tokens; 0 for none.
        ctx_init: words whose first M tokens the first layer starts from; what is left of them
            stays as fixed words. None: N(0, 0.02). Deeper layers always start from N(0, 0.02).
        zeros: so many of the M tokens, the first ones, start at zero; ``ctx_init`` has the words
            of all others (ProGrad's code: 12 zeros, then "a photo of a").
        depth: J, layers with text tokens; 1 is the input only.
        templates: without text tokens, the sentences of the text tower, averaged.
        vision_ctx, vision_depth: the same in the image tower; None: as the text tower's.
        free: "text" (of coupled prompts, the text tower's are the source) or "both".

    Features:
        image_adapter, text_adapter: share of a bottleneck network in the output features
            (CLIP-Adapter's, CoPrompt's); 0 for none.

    Losses beside cross-entropy, all against the frozen CLIP:
        text_l1, image_l1, kl: PromptSRC's weights; ``kl`` divides by batch times classes.
        teacher: templates of the text teacher: a name of `clip.templates.ENSEMBLES`, or one text
            with {} for the name.
        consistency: CoPrompt's lambda; compares with another view and with sentences.
        distance: of the consistency, "cosine" or "mse".
        sentences: "llm" (the class list must have them), "templates" (of ``teacher``) or "auto".
        projection: ProGrad's lambda: drop this share of what is against the zero-shot logits.

    Aggregation (PromptSRC):
        gpa_mean, gpa_std: of the Gaussian over epochs that weighs prompts; ``gpa_std=0``: none.
    """

    prompts: Literal["independent", "coupled"] = "independent"
    num_ctx: Annotated[int, TOKENS] = 4
    ctx_init: Annotated[str | None, WORDS] = "a photo of a"
    depth: Annotated[int, LAYERS] = 1
    vision_ctx: Annotated[int | None, TOKENS] = None
    vision_depth: Annotated[int | None, LAYERS] = None
    free: Literal["text", "both"] = "text"
    image_adapter: Annotated[float, SHARE] = 0.0
    text_adapter: Annotated[float, SHARE] = 0.0
    text_l1: Annotated[float, WEIGHT] = 0.0
    image_l1: Annotated[float, WEIGHT] = 0.0
    kl: Annotated[float, WEIGHT] = 0.0
    teacher: str = "promptsrc-60"
    consistency: Annotated[float, WEIGHT] = 0.0
    distance: Literal["cosine", "mse"] = "cosine"
    sentences: Literal["auto", "llm", "templates"] = "auto"
    projection: Annotated[float, WEIGHT] = 0.0
    gpa_mean: Annotated[float, Range(-WEIGHT.high, WEIGHT.high)] = 0.0
    gpa_std: Annotated[float, WEIGHT] = 0.0
    templates: list[str] = field(default_factory=lambda: [SINGLE], metadata=LATER)
    zeros: Annotated[int, TOKENS] = field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = []
        if self.zeros and (self.ctx_init is None or self.zeros >= self.num_ctx):
            problems.append(
                f"learner.zeros: got {self.zeros} with num_ctx={self.num_ctx} and ctx_init="
                f"{self.ctx_init!r}; expected fewer than num_ctx, and ctx_init with the words of "
                "the others"
            )
        if self.prompts == "coupled":
            if not self.num_ctx:
                problems.append("learner.num_ctx: coupled prompts need at least 1, got 0")
            for name, same in (("vision_ctx", "num_ctx"), ("vision_depth", "depth")):
                if getattr(self, name) not in (None, getattr(self, same)):
                    problems.append(
                        f"learner.{name}: coupled prompts have as many as {same}="
                        f"{getattr(self, same)}, got {getattr(self, name)}"
                    )
        problems += not_templates(self.templates)
        if self.num_ctx and self.templates != [SINGLE]:
            problems.append(
                f"learner.templates: sentences are for num_ctx=0, got num_ctx={self.num_ctx}"
            )
        if self.teacher not in ENSEMBLES and "{}" not in self.teacher:
            hint = near_miss(self.teacher, list(ENSEMBLES))
            problems.append(
                f"learner.teacher: expected one of {list(ENSEMBLES)} or a text with {{}}, got "
                f"{self.teacher!r}.{hint}"
            )
        refuse(problems)

    @property
    def vision(self) -> tuple[int, int]:
        """Tokens and layers in the image tower; ``(0, 0)`` for none."""
        length = self.num_ctx if self.vision_ctx is None else self.vision_ctx
        depth = self.depth if self.vision_depth is None else self.vision_depth
        return (length, depth) if length else (0, 0)

    @property
    def generates(self) -> bool:
        """Whether there is any prompt."""
        return bool(self.num_ctx or self.vision[0])

    @property
    def unread(self) -> str:
        """The templates, where a context stands in their place."""
        return "templates" if self.num_ctx else ""

    @property
    def asks_for_sentences(self) -> Literal["no", "auto", "llm"]:
        """CoPrompt's consistency does, unless templates are to be its sentences."""
        if not self.consistency or self.sentences == "templates":
            return "no"
        return self.sentences

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """Deeper than a tower, or more tokens than the context or the first words hold."""
        problems = too_long(self.num_ctx, config)
        problems += too_few_words(self.num_ctx - self.zeros, self.ctx_init, tokenizer)
        words, wanted = len(tokenizer.encode(self.ctx_init or "")), self.num_ctx - self.zeros
        if self.zeros and words > wanted:
            problems.append(
                f"learner.zeros: {self.zeros} of {self.num_ctx} tokens leave {wanted}, got the "
                f"{words} of ctx_init {self.ctx_init!r}; expected as many"
            )
        asked = (
            ("depth", self.depth if self.num_ctx else 0, "text", config.text.layers),
            ("vision_depth", self.vision[1], "image", config.vision.layers),
        )
        for name, depth, tower, layers in asked:
            if depth > layers:
                problems.append(
                    f"learner.{name}: expected at most {layers}, the layers of this {tower} "
                    f"tower, got {depth}"
                )
        return problems

    def tokens_ahead(self, tokenizer: Encoder) -> int:
        """M, the fixed words behind them, or those of a teacher's templates."""
        most = max(self.num_ctx, len(tokenizer.encode(self.ctx_init or "")))
        if not self.num_ctx:
            most = max(most, around(spelled_out(self.templates), tokenizer))
        if self.text_l1 or self.image_l1 or self.kl or self.consistency or self.projection:
            most = max(most, around(spelled_out([self.teacher]), tokenizer))
        return most

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the numbers of tokens and layers of both towers."""
        text = [shape for name, shape in shapes.items() if name.startswith("family.text.")]
        vision = [shape for name, shape in shapes.items() if name.startswith("family.vision.")]
        count = text[0][0] if text else 0
        found: dict[str, Any] = {"num_ctx": count, "depth": max(len(text), 1)}
        if count > MOST_WORDS:
            found["ctx_init"] = None
        if vision:
            found |= {"vision_ctx": vision[0][0], "vision_depth": len(vision)}
        return found
