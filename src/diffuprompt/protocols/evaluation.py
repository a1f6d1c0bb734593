"""What is scored of a trained run; no torch, so the command line can say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffuprompt.errors import ConfigError
from diffuprompt.record import Record

BASIC = ("regression", "shuffled")
LABEL_FREE = (*BASIC, "noise", "nearest", "mean")
STEPWISE = ("diffusion",)  # generators that take steps: others have no regression and no nfe
NOISELESS = ("none", "mlp", "transformer")  # all draws of them are equal


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
    """

    controls: Literal["all", "basic", "none"] = "all"
    oracle: bool = True
    nfe: tuple[int, ...] = ()
    samples: int = 1

    def __post_init__(self) -> None:
        counts = (*self.nfe, self.samples)
        if self.controls not in ("all", "basic", "none") or any(n < 1 for n in counts):
            raise ConfigError(
                "evaluation: expected controls all, basic or none, and samples and every nfe at "
                f"least 1; got {self}"
            )

    def label_free(self, generator: str) -> tuple[str, ...]:
        """Return the controls that need no label, for a generator of that name."""
        chosen = {"all": LABEL_FREE, "basic": BASIC, "none": ()}[self.controls]
        return tuple(c for c in chosen if generator in STEPWISE or c != "regression")

    def steps(self, generator: str) -> tuple[int, ...]:
        """Return the numbers of evaluations to sample with, beside the configured one."""
        return self.nfe if generator in STEPWISE else ()

    def draws(self, generator: str) -> int:
        """Return over how many draws probabilities are averaged; 0 where they are not."""
        return self.samples if self.samples > 1 and generator not in NOISELESS else 0

    def variants(self, generator: str) -> frozenset[str]:
        """Return the names of all scores of a run with this generator ("none": the learner's)."""
        if generator == "none":
            return frozenset({"own"})
        oracle = {"oracle"} if self.asks_oracle else set()
        swept = {nfe_variant(generator, n) for n in self.steps(generator)}
        swept |= {samples_variant(generator, n) for n in [self.draws(generator)] if n}
        return frozenset({"own", generator, *self.label_free(generator), *swept, *oracle})

    def is_in(self, record: Record) -> bool:
        """Whether a record holds all that is asked for."""
        return self.variants(record.job.generator) <= {s.variant for s in record.scores}

    @property
    def asks_oracle(self) -> bool:
        """Whether the oracle is scored."""
        return self.oracle and self.controls == "all"


def nfe_variant(generator: str, nfe: int) -> str:
    """Return what a score is called that was sampled with another number of evaluations."""
    return f"{generator}@nfe={nfe}"


def samples_variant(generator: str, samples: int) -> str:
    """Return what the score of mean probabilities over draws is called."""
    return f"{generator}@samples={samples}"
