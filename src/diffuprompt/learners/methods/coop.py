"""CoOp (Zhou et al. 2022, IJCV, arXiv 2109.01134)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

from diffuprompt.learners.legacy_keys import CONTEXT
from diffuprompt.learners.method import PAPER, Method, Preset, TrainConfig
from diffuprompt.learners.options import LEARNED, ContextOptions, refuse
from diffuprompt.ranges import TOKENS, WORDS, Range


@dataclass(frozen=True, kw_only=True)
class CoOpOptions(ContextOptions):
    """Options of `diffuprompt.learners.coop_learner.CoOp`.

    Attributes:
        num_ctx: M, context tokens.
        ctx_init: words that initialise the context; None draws from N(0, 0.02).
        position: where the class name stands: "end", "middle" or "front" of the context.
        class_specific: whether each class has a context of its own; it then scores no others.
        num_classes: how many classes have one; `for_classes` says it.
    """

    num_ctx: Annotated[int, Range(1, TOKENS.high)] = 16
    ctx_init: Annotated[str | None, WORDS] = None
    position: Literal["end", "middle", "front"] = "end"
    class_specific: bool = False
    num_classes: int = field(default=0, metadata=LEARNED)

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = []
        if self.num_classes and not self.class_specific:
            problems.append(
                f"learner.num_classes: expected 0 for a context that all classes share, got "
                f"{self.num_classes}; set class_specific=true"
            )
        refuse(problems)

    @property
    def class_bound(self) -> str:
        """Contexts of single classes are."""
        return "class_specific" if self.class_specific else ""

    def for_classes(self, names: Sequence[str]) -> Self:
        """Return the options with as many contexts as there are names, where each has its own."""
        return replace(self, num_classes=len(names)) if self.class_specific else self

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return M, and the number of classes of "ctx" ``(C, M, D)``."""
        found, ctx = super().from_shapes(shapes), shapes.get("ctx", ())
        return {**found, "class_specific": True, "num_classes": ctx[0]} if len(ctx) == 3 else found

    @classmethod
    def upgraded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return options in which 0.1's ``class_specific``, the number of classes, is two values.

        0 was a shared context; there were artifacts with ``false`` for it too.
        """
        if "num_classes" in values or "class_specific" not in values:
            return dict(values)
        count = int(values["class_specific"])
        return {**values, "class_specific": count > 0, "num_classes": count}


_WORDS = {"num_ctx": 4, "ctx_init": "a photo of a"}
_CROSS = Preset(
    learner="coop",
    name="cross-dataset",
    train=TrainConfig(epochs=50, batch=32, lr=2e-3),
    options=_WORDS,
    source="CoOp as in arXiv 2203.05557, all 1000 classes of ImageNet, 16 shots",
    published={"source": 71.51, "mean": 63.88},
)

METHOD = Method(
    name="coop",
    title="CoOp",
    learner="diffuprompt.learners.coop_learner:CoOp",
    about="Learn M context vectors, one set for all classes or one per class (CSC).",
    options=CoOpOptions(),
    presets=(
        Preset(
            learner="coop",
            name="base-to-new",
            train=TrainConfig(epochs=200, batch=32, lr=2e-3),
            options=_WORDS,
            source="CoOp as in the CoCoOp benchmark, arXiv 2203.05557 (50 epochs on ImageNet)",
            published={"base": 82.69, "new": 63.22, "H": 71.66},
        ),
        _CROSS,
        _CROSS.named("domain", published={"source": 71.51, "mean": 59.28}),
        Preset(
            learner="coop",
            name="few-shot",
            train=TrainConfig(epochs=200, batch=32, lr=2e-3),
            options={"num_ctx": 16},
            source="arXiv 2109.01134, 16 or 8 shots (4, 2: 100 epochs; 1: 50 epochs)",
            published={"1": 67.56, "2": 70.65, "4": 74.02, "8": 76.98, "16": 79.89},
            fewer_epochs=((2, 50), (8, 100)),
        ),
        Preset(
            learner="coop",
            name="paper",
            train=PAPER,
            options=_WORDS,
            source="arXiv 2410.20164, section 5.1, which gives CoOp no tokens: CoCoOp's four",
        ),
        Preset(
            learner="coop",
            name="lite",
            train=TrainConfig(epochs=50, batch=32, lr=2e-2, views=10),
            options=_WORDS,
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=CONTEXT,
)
