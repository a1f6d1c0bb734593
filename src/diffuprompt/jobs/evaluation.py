"""What is scored of a trained run; no torch, so the command line can say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffuprompt.errors import ConfigError
from diffuprompt.record import Record, Variant

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
        nfe: further numbers of evaluations to sample with, for generators that take steps; AMED
            can do its own only.
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

    def steps(self, generator: str, config: Mapping[str, Any] | None = None) -> tuple[int, ...]:
        """Return the numbers of evaluations to sample with, beside the configured one.

        ``config`` is the job's, as `Resolved.to_json` gives it and records keep it: AMED is fitted
        for its own number of evaluations and cannot do others, which are left out.
        """
        if generator not in STEPWISE:
            return ()
        own = (config or {}).get(generator, {})  # its section has its name
        fitted = own.get("sampler") == "amed"
        return tuple(n for n in self.nfe if not fitted or n == own["nfe"])

    def draws(self, generator: str) -> int:
        """Return over how many draws probabilities are averaged; 0 where they are not."""
        return self.samples if self.samples > 1 and generator not in NOISELESS else 0

    def variants(
        self, generator: str, config: Mapping[str, Any] | None = None
    ) -> frozenset[Variant]:
        """Return the variants of all scores of a run with this generator ("none": the learner's).

        ``config`` as in `steps`.
        """
        if generator == "none":
            return frozenset({Variant.own()})
        controls = [*self.label_free(generator), *(["oracle"] if self.asks_oracle else [])]
        found = {Variant.own(), Variant.generated(generator)}
        found |= {Variant.of_control(control, generator) for control in controls}
        found |= {Variant.generated(generator, nfe=n) for n in self.steps(generator, config)}
        draws = self.draws(generator)
        return frozenset(found | ({Variant.generated(generator, draws=draws)} if draws else set()))

    def is_in(self, record: Record) -> bool:
        """Whether a record holds all that is asked for and that its generator can do."""
        wanted = self.variants(record.job.generator, record.config)
        return wanted <= {s.variant for s in record.scores}

    @property
    def asks_oracle(self) -> bool:
        """Whether the oracle is scored."""
        return self.oracle and self.controls == "all"
