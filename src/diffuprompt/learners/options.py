"""What can be set of a learner, and what it says about itself; no torch.

Each kind of learner has a dataclass of its own; what only one method has stands in the method's
file. A value that does not fit is found here, before any weight is loaded: values alone when the
options are made, values against a tower's shape by `Options.misfits`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from diffuprompt.clip import ENSEMBLES, SINGLE, ClipConfig
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.ranges import TOKENS, WORDS, Range, misfits

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from diffuprompt.clip import Encoder

SUFFIX = 3  # a class name of one token, the full stop, end-of-text
LEARNED: dict[str, Any] = {"learned": True}  # field metadata: found by training, not set by people
# field metadata: came after runs were made, whose keys and hashes must stay what they are
LATER: dict[str, Any] = {"later": True}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every learner's options can say; the defaults hold for a learner without prompts.

    A value outside of what its field's type allows is refused when the options are made.
    """

    def __post_init__(self) -> None:
        refuse(misfits(self, "learner"))

    @property
    def generates(self) -> bool:
        """Whether there are prompts that a generator could give."""
        return False

    @property
    def asks_for_sentences(self) -> Literal["no", "auto", "llm"]:
        """Whether training wants sentences about classes: if there are any, or by all means."""
        return "no"

    @property
    def class_bound(self) -> str:
        """The option that makes what is learned serve one class list only; "" serves any list."""
        return ""

    @property
    def unread(self) -> str:
        """The option whose sentences nothing reads, as a context stands for them; "" for none."""
        return ""

    def for_classes(self, names: Sequence[str]) -> Self:
        """Return the options of a learner that is built for a class list."""
        return self

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """Return what does not fit a backbone, each with the field and its range."""
        return []

    def tokens_ahead(self, tokenizer: Encoder) -> int:
        """Return the most tokens that stand beside a class name and its full stop in any text."""
        return around([SINGLE], tokenizer)

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the values that the shapes of learned tensors tell, by our names for them."""
        return {}

    @classmethod
    def upgraded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of an artifact of an earlier version as this version has them."""
        return dict(values)


@dataclass(frozen=True, kw_only=True)
class ContextOptions(Options):
    """M text tokens at the input, and the words they start from; None: N(0, 0.02)."""

    num_ctx: Annotated[int, Range(1, TOKENS.high)]
    ctx_init: Annotated[str | None, WORDS]

    @property
    def generates(self) -> bool:
        """Always: there is at least one token."""
        return True

    def misfits(self, config: ClipConfig, tokenizer: Encoder) -> list[str]:
        """More tokens than the context holds, or than there are words to start from."""
        return [
            *too_long(self.num_ctx, config),
            *too_few_words(self.num_ctx, self.ctx_init, tokenizer),
        ]

    def tokens_ahead(self, tokenizer: Encoder) -> int:
        """M, and the fixed words that more initial words leave."""
        return max(self.num_ctx, len(tokenizer.encode(self.ctx_init or "")))

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return M of "ctx" ``(..., M, D)``; trained vectors are no words any more."""
        if "ctx" not in shapes:
            return {}
        return {"num_ctx": shapes["ctx"][-2], "ctx_init": None}


def around(templates: Sequence[str], tokenizer: Encoder) -> int:
    """Return the most tokens of any template beside the class name and one full stop."""
    return max(len(tokenizer.encode(text.replace("{}", ""))) - 1 for text in templates)


def settable(options: Options) -> dict[str, Any]:
    """Return the values of ``options`` that people set, by name."""
    fields = dataclasses.fields(options)
    return {f.name: getattr(options, f.name) for f in fields if not f.metadata.get("learned")}


def needed(options: DataclassInstance, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` without those of fields that came later and are left as in ``options``."""
    later = {f.name for f in dataclasses.fields(options) if f.metadata.get("later")}
    return {k: v for k, v in values.items() if k not in later or v != getattr(options, k)}


def changed(options: Options, values: Mapping[str, Any], *, learner: str) -> Options:
    """Return the options with some values changed; ``learner`` is named in the message.

    Raises:
        ConfigError: there is no such option, or a value is out of its range.
    """
    known = [f.name for f in dataclasses.fields(options)]
    for key in values:
        if key not in known:
            raise ConfigError(
                f"{learner} has no option {key!r}, expected one of {known}.{near_miss(key, known)}"
            )
    return dataclasses.replace(options, **values)


def not_templates(templates: Sequence[str]) -> list[str]:
    """Return what is wrong with sentence templates: no place for the name, no name of a list."""
    if templates and all("{}" in text or text in ENSEMBLES for text in templates):
        return []
    return [
        f"learner.templates: expected texts with {{}} for the name, or some of {list(ENSEMBLES)}, "
        f"got {list(templates)}"
    ]


def spelled_out(templates: Sequence[str]) -> list[str]:
    """Return templates with those of an ensemble in the place of its name."""
    return [text for entry in templates for text in ENSEMBLES.get(entry, (entry,))]


def too_few_words(num_ctx: int, words: str | None, tokenizer: Encoder) -> list[str]:
    """Return what is wrong where ``words`` have fewer tokens than start from them."""
    if words is None or len(tokenizer.encode(words)) >= num_ctx:
        return []
    return [
        f"learner.num_ctx: expected at most {len(tokenizer.encode(words))}, the tokens of "
        f"ctx_init {words!r}, got {num_ctx}; give more words, or ctx_init=null for random values"
    ]


def too_long(num_ctx: int, config: ClipConfig) -> list[str]:
    """Return what is wrong where so many tokens leave no room for a class name."""
    most = config.text.context_length - 1 - SUFFIX
    if num_ctx <= most:
        return []
    return [
        f"learner.num_ctx: expected at most {most} with a context of "
        f"{config.text.context_length} tokens, got {num_ctx}"
    ]


def refuse(problems: list[str]) -> None:
    """Raise a `ConfigError` with all problems, where there are any."""
    if problems:
        raise ConfigError("; ".join(problems))
