"""What is scored of a trained run; no torch, so the command line can say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from diffuprompt.errors import ConfigError
from diffuprompt.generators import KINDS
from diffuprompt.ranges import NFE, SAMPLES, Range, misfits
from diffuprompt.record import ZERO_SHOT_NEW, Variant

REGRESSION, ORACLE = "regression", "oracle"
BASIC = (REGRESSION, "shuffled")
LABEL_FREE = (*BASIC, "noise", "nearest", "mean")
SEEDED = ("shuffled", "noise")  # controls that draw
OF_TARGETS = ("nearest", "mean", ORACLE)  # controls that need V* and no generator


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What to score of generated prompts beside themselves and the learner's own.

    Attributes:
        controls: "all", "basic" (regression and shuffled pi, which decide) or "none".
        oracle: whether "all" holds the oracle too, by far the most expensive: it overfits prompts
            for every test image.
        nfe: further numbers of evaluations to sample with, for generators that take steps.
        samples: from 2 on, also score the mean of the probabilities over that many draws, for
            generators that draw noise.
        open_world: whether the test images of base and new classes are scored among the names of
            both too, with the control that a method has to beat there.
    """

    controls: Literal["all", "basic", "none"] = "all"
    oracle: bool = True
    nfe: Annotated[tuple[Annotated[int, NFE], ...], Range(0, 100)] = ()
    samples: Annotated[int, SAMPLES] = 1
    open_world: bool = False

    def __post_init__(self) -> None:
        problems = misfits(self, "evaluation")
        if problems:
            raise ConfigError("\n  ".join(problems))

    def variants(self, generator: str) -> tuple[Variant, ...]:
        """Return all that is scored of a run with this generator ("none": the learner's)."""
        if generator not in KINDS:
            return (Variant.own(),)
        kind = KINDS[generator]
        found = [Variant.own(), Variant.generated(generator)]
        if kind.stepwise:
            found += [Variant.generated(generator, nfe=n) for n in self.nfe]
        if self.samples > 1 and kind.draws_noise:
            found.append(Variant.generated(generator, draws=self.samples))
        chosen = {"all": LABEL_FREE, "basic": BASIC, "none": ()}[self.controls]
        names = [name for name in chosen if kind.stepwise or name != REGRESSION]
        if self.oracle and self.controls == "all":
            names.append(ORACLE)
        return (*found, *(Variant.of_control(name, generator) for name in names))

    def open_variants(self, generator: str) -> tuple[Variant, ...]:
        """Return what is scored in the open world: methods, and what the last one has to beat."""
        if generator not in KINDS:
            return (Variant.own(), Variant.of_control(ZERO_SHOT_NEW))
        control = Variant.of_control(ZERO_SHOT_NEW, generator)
        return (Variant.own(), Variant.generated(generator), control)
