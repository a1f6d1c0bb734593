"""What can be set of each kind of learner, and what is refused; no torch.

A value that does not fit is found here, before any weight is loaded: values alone when the options
are made, values against a tower's shape by ``misfits``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from diffuprompt.clip.config import ClipConfig
from diffuprompt.clip.templates import ENSEMBLES, SINGLE
from diffuprompt.errors import ConfigError, near_miss

if TYPE_CHECKING:
    from diffuprompt.clip.tokens import Encoder

SUFFIX = 3  # a class name of one token, the full stop, end-of-text
LEARNED: dict[str, Any] = {"learned": True}  # found by training, not set by people


class Options(Protocol):
    """What every dataclass of options can say about itself."""

    @property
    def generates(self) -> bool:
        """Whether there are prompts that a generator could give."""

    @property
    def asks_for_sentences(self) -> Literal["no", "auto", "llm"]:
        """Whether training wants sentences about classes: if there are any, or by all means."""

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """Return what does not fit a backbone, each with the field and its range."""


@dataclass(frozen=True, kw_only=True)
class ZeroShotOptions:
    """Templates, ``{}`` being the class name, or names of `clip.templates.ENSEMBLES`; averaged."""

    templates: list[str] = field(default_factory=lambda: [SINGLE])

    generates: ClassVar[bool] = False
    asks_for_sentences: ClassVar[Literal["no"]] = "no"

    def __post_init__(self) -> None:
        wrong = [text for text in self.templates if "{}" not in text and text not in ENSEMBLES]
        if wrong or not self.templates:
            raise ConfigError(
                f"learner.templates: expected texts with {{}} for the name, or some of "
                f"{list(ENSEMBLES)}, got {self.templates}"
            )

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """Nothing: sentences are checked when they are tokenised."""
        return []


@dataclass(frozen=True, kw_only=True)
class ContextOptions:
    """M text tokens at the input, and the words they start from; None: N(0, 0.02)."""

    num_ctx: int
    ctx_init: str | None

    generates: ClassVar[bool] = True
    asks_for_sentences: ClassVar[Literal["no"]] = "no"

    def __post_init__(self) -> None:
        _refuse(_at_least(self, num_ctx=1))

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """More tokens than the context holds, or than there are words to start from."""
        return [
            *_too_long(self.num_ctx, config),
            *too_few_words(self.num_ctx, self.ctx_init, tokenizer),
        ]


@dataclass(frozen=True, kw_only=True)
class CoOpOptions(ContextOptions):
    """See `diffuprompt.learners.coop.CoOp`."""

    num_ctx: int = 16
    ctx_init: str | None = None
    position: Literal["end", "middle", "front"] = "end"
    class_specific: bool = False


@dataclass(frozen=True, kw_only=True)
class CoCoOpOptions(ContextOptions):
    """See `diffuprompt.learners.cocoop.CoCoOp`."""

    num_ctx: int = 4
    ctx_init: str | None = "a photo of a"


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """Prompts x losses: every published method of deep prompts is one setting of these.

    Prompts:
        prompts: "independent" (each tower its own) or "coupled" (the image tower's are linear
            functions of the text tower's: MaPLe).
        num_ctx: M, text tokens; 0 for none.
        ctx_init: words whose first M tokens the first layer starts from; what is left of them
            stays as fixed words. None: N(0, 0.02). Deeper layers always start from N(0, 0.02).
        depth: J, layers with text tokens; 1 is the input only.
        vision_ctx, vision_depth: the same in the image tower; None: as the text tower's.
        free: "text" (of coupled prompts, the text tower's are the source) or "both".

    Features:
        image_adapter, text_adapter: share of a bottleneck network in the output features
            (CLIP-Adapter's, CoPrompt's); 0 for none.

    Losses beside cross-entropy, all against the frozen CLIP:
        text_l1, image_l1, kl: PromptSRC's weights; ``kl`` divides by batch times classes.
        teacher: templates of the text teacher, a name of `clip.templates.ENSEMBLES`.
        consistency: CoPrompt's lambda; compares with another view and with sentences.
        distance: of the consistency, "cosine" or "mse".
        sentences: "llm" (the class list must have them), "templates" (of ``teacher``) or "auto".
        projection: ProGrad's lambda: drop this share of what is against the zero-shot logits.

    Aggregation (PromptSRC):
        gpa_mean, gpa_std: of the Gaussian over epochs that weighs prompts; ``gpa_std=0``: none.
    """

    prompts: Literal["independent", "coupled"] = "independent"
    num_ctx: int = 4
    ctx_init: str | None = "a photo of a"
    depth: int = 1
    vision_ctx: int | None = None
    vision_depth: int | None = None
    free: Literal["text", "both"] = "text"
    image_adapter: float = 0.0
    text_adapter: float = 0.0
    text_l1: float = 0.0
    image_l1: float = 0.0
    kl: float = 0.0
    teacher: str = "promptsrc-60"
    consistency: float = 0.0
    distance: Literal["cosine", "mse"] = "cosine"
    sentences: Literal["auto", "llm", "templates"] = "auto"
    projection: float = 0.0
    gpa_mean: float = 0.0
    gpa_std: float = 0.0

    def __post_init__(self) -> None:
        weights = ("text_l1", "image_l1", "kl", "consistency", "projection", "gpa_std")
        problems = _at_least(self, num_ctx=0, depth=1, **dict.fromkeys(weights, 0))
        if self.vision_ctx is not None:
            problems += _at_least(self, vision_ctx=0)
        if self.vision_depth is not None:
            problems += _at_least(self, vision_depth=1)
        for name in ("image_adapter", "text_adapter"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(
                    f"learner.{name}: expected a share in 0..1, got {getattr(self, name)}"
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
        if self.teacher not in ENSEMBLES:
            hint = near_miss(self.teacher, list(ENSEMBLES))
            problems.append(
                f"learner.teacher: expected one of {list(ENSEMBLES)}, got {self.teacher!r}.{hint}"
            )
        _refuse(problems)

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
    def asks_for_sentences(self) -> Literal["no", "auto", "llm"]:
        """CoPrompt's consistency does, unless templates are to be its sentences."""
        if not self.consistency or self.sentences == "templates":
            return "no"
        return self.sentences

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """Deeper than a tower, or more tokens than the context or the first words hold."""
        problems = _too_long(self.num_ctx, config)
        problems += too_few_words(self.num_ctx, self.ctx_init, tokenizer)
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


@dataclass(frozen=True, kw_only=True)
class TipOptions:
    """See `diffuprompt.learners.tip_adapter.TipAdapter`."""

    alpha: float = 1.0
    beta: float = 5.5
    views: int = 10
    tune: bool = False
    trained_classes: list[str] = field(default_factory=list, metadata=LEARNED)
    size: int = field(default=0, metadata=LEARNED)

    generates: ClassVar[bool] = False
    asks_for_sentences: ClassVar[Literal["no"]] = "no"

    def __post_init__(self) -> None:
        _refuse(_at_least(self, alpha=0, beta=0, views=1, size=0))

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """Nothing."""
        return []


def settable(options: Any) -> dict[str, Any]:
    """Return the values of ``options`` that people set, by name."""
    fields = dataclasses.fields(options)
    return {f.name: getattr(options, f.name) for f in fields if not f.metadata.get("learned")}


def too_few_words(num_ctx: int, words: str | None, tokenizer: Encoder) -> list[str]:
    """Return what is wrong where ``words`` have fewer tokens than start from them."""
    if words is None or len(tokenizer.encode(words)) >= num_ctx:
        return []
    return [
        f"learner.num_ctx: expected at most {len(tokenizer.encode(words))}, the tokens of "
        f"ctx_init {words!r}, got {num_ctx}; give more words, or ctx_init=null for random values"
    ]


def _at_least(options: Any, **least: float) -> list[str]:
    return [
        f"learner.{name}: expected at least {low}, got {getattr(options, name)}"
        for name, low in least.items()
        if not getattr(options, name) >= low
    ]


def _too_long(num_ctx: int, config: ClipConfig) -> list[str]:
    most = config.text.context_length - 1 - SUFFIX
    if num_ctx <= most:
        return []
    return [
        f"learner.num_ctx: expected at most {most} with a context of "
        f"{config.text.context_length} tokens, got {num_ctx}"
    ]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError("; ".join(problems))
