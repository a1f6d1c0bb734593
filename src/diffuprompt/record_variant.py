"""How the prompts of a score were made, and how names were judged by them: the key of a score."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from diffuprompt.record_fields import Amount, Count, Fields, Line, Positive

ZERO_SHOT_NEW = "zero-shot-new"  # the control of the open world, of a learner or a generator


class Judging(Fields):
    """How names were judged by the prompts that they would ask for, beside the logits.

    Nothing does so any more: the records that have it say that it brings nothing.

    Attributes:
        by: "density", the generator's own, or the control "distance", to the regression.
        sigmas: noise levels at which denoising errors are averaged; the flow and the VAE, whose
            densities are explicit, have none.
        weight: of the error against the logits.
        candidates: K, the most probable names that are judged.
        steps: gradient steps to V*_y; 0 for as many as training took.
        margin: only images whose two best logits differ by no more are judged; 0 for all.
    """

    by: Literal["density", "distance"] = "density"
    sigmas: tuple[Amount, ...] = (2.0,)
    weight: Amount = 3.0
    candidates: Positive = 5
    steps: Count = 1
    margin: Amount = 0.0

    @property
    def label(self) -> str:
        """What differs from the defaults, behind the name: "density", "density,k=3"."""
        names = {"candidates": "k"}
        own = self.model_dump(exclude={"by"}, exclude_defaults=True)
        told = [f"{names.get(k, k)}={_short(v)}" for k, v in own.items()]
        return ",".join([self.by, *told])


class Variant(Fields):
    """How the prompts of a score were made; hashable, so it can be a key.

    Attributes:
        prompts: the learner's "own" prompts, "generated" ones, or those of a "control", which
            shows what a generator's gain is made of.
        generator: of generated prompts and of controls: the generator's name.
        control: "regression", "shuffled", "noise", "nearest", "mean" or "oracle"; or
            "zero-shot-new": the method's logits on the names of base classes beside those of the
            frozen backbone on the names of new ones, which no new class can have been harmed by.
            Without a generator the method is the learner itself.
        nfe: evaluations of the network for a sample, where they are not the configured number.
        draws: from 2 on, the score is of the mean probabilities over that many draws.
        judged: how names were judged beside the logits of generated prompts; None: not at all.
    """

    prompts: Literal["own", "generated", "control"] = "own"
    generator: Line = ""
    control: Line = ""
    nfe: Positive | None = None
    draws: Positive = 1
    judged: Judging | None = None

    @classmethod
    def own(cls) -> Variant:
        """Return the learner's own prompts."""
        return cls()

    @classmethod
    def generated(cls, generator: str, nfe: int | None = None, draws: int = 1) -> Variant:
        """Return prompts that ``generator`` sampled, as configured or with other numbers."""
        return cls(prompts="generated", generator=generator, nfe=nfe, draws=draws)

    @classmethod
    def of_control(cls, control: str, generator: str = "") -> Variant:
        """Return what ``control`` makes in the place of ``generator``, or of own prompts."""
        return cls(prompts="control", generator=generator, control=control)

    @model_validator(mode="after")
    def _check(self) -> Variant:
        if (self.prompts == "control") != bool(self.control):
            raise ValueError(f"control: expected a name just for a control, got {self.control!r}")
        may_lack = self.control == ZERO_SHOT_NEW  # which is of the learner itself, too
        if (self.prompts == "own") == bool(self.generator) and not may_lack:
            raise ValueError(
                "generator: expected a name for generated prompts and controls and none for own "
                f"prompts, got {self.generator!r} for {self.prompts!r}"
            )
        if self.is_resampled and self.prompts != "generated":
            raise ValueError(
                f"nfe, draws, judged: only generated prompts have them, got {self.nfe}, "
                f"{self.draws}, {self.judged} for {self.prompts!r}"
            )
        if self.judged and (self.nfe is not None or self.draws > 1):
            raise ValueError(
                "judged: names are judged beside the logits of prompts sampled as configured, got "
                f"nfe={self.nfe}, draws={self.draws}"
            )
        return self

    @property
    def is_resampled(self) -> bool:
        """Whether a generator was sampled or scored in another way than configured."""
        return self.nfe is not None or self.draws > 1 or self.judged is not None

    @property
    def label(self) -> str:
        """A short name for display and for files: "own", "oracle", "diffusion@nfe=10"."""
        if self.prompts != "generated":
            return self.control or self.prompts
        return "@".join(filter(None, (self.generator, self.sampling)))

    @property
    def sampling(self) -> str:
        """What is special about the sampling: "nfe=10", "samples=8", "density"; mostly empty."""
        named = [f"nfe={self.nfe}"] if self.nfe is not None else []
        named += [f"samples={self.draws}"] if self.draws > 1 else []
        named += [self.judged.label] if self.judged else []
        return ",".join(named)


def _short(value: object) -> str:
    """Return a number, or numbers joined by "+"."""
    every = value if isinstance(value, tuple) else (value,)
    return "+".join(f"{one:g}" for one in every)
