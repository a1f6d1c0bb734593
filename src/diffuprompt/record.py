"""The record: the one validated JSON file that a finished job leaves, and all that a report reads.

A record holds scores: of one way of making prompts (`Variant`) on one part of one test set. Metrics
are at full precision, shares in per cent. ``hits`` keeps, for every item of the test set in its
order, whether the top-1 answer was right, so that two records can be compared item by item.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from diffuprompt.errors import DataError
from diffuprompt.record_fields import (
    SLACK,
    Amount,
    Count,
    Fields,
    Line,
    Metrics,
    Name,
    Number,
    Positive,
    Seed,
    Text,
    hit_bytes,
    pack_hits,
    unpack_hits,
)
from diffuprompt.record_reading import Makers, read_fields
from diffuprompt.record_upgrade import OLD_SCHEMA, upgrade

__all__ = [
    "MAKERS", "OPEN", "SCHEMA", "SUBSETS", "ZERO_SHOT_NEW", "Job", "Judging", "Record", "Score",
    "Variant", "pack_hits", "read_record", "unpack_hits", "upgrade",
]  # fmt: skip

SCHEMA: Literal["diffuprompt.record/2"] = "diffuprompt.record/2"
OPEN = "open"  # images of base and then of new classes among the names of both
SUBSETS = ("base", "new", "all", OPEN)  # of the classes of a classification test set
ZERO_SHOT_NEW = "zero-shot-new"  # the control of the open world, of a learner or a generator


class Job(Fields):
    """What was run; two records with equal jobs are repetitions of the same experiment.

    ``setting`` names what is special about an ablation, such as "overfit.steps=3"; it is empty for
    the runs that the main tables show.
    """

    dataset: Name
    backbone: Name
    learner: Name
    generator: Name  # "none" when the learner's own prompts are used
    protocol: Name  # e.g. "base-to-new", "few-shot", "holdout"
    shots: Count
    seed: Seed
    setting: Line = ""


class Judging(Fields):
    """How names were judged by the prompts that they would ask for, beside the logits.

    The defaults were chosen on the hold-out of the scenes (CoCoOp, seed 1); one step does there
    what five do.

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


class Score(Fields):
    """Quality of one way of making prompts on one part of one test set.

    Attributes:
        variant: how the prompts were made.
        dataset: the test set's name: the job's own or another one.
        subset: which classes of it: "base", "new", "all", or "open" for the images of base and
            then of new classes among the names of both.
        total: how many items it has.
        metrics: name -> value: "accuracy", "macro_f1", "ece" and "aurc" (the area under the
            risk-coverage curve) in per cent, "nll" in nats, "selective_50" and so on, the accuracy
            in per cent on that share of the items, the most confident ones; in the open world
            also "accuracy_base" and "accuracy_new", of the images of either.
        hits: packed top-1 hits, see `pack_hits`; no score of a record is without.
        timings: "generate_ms", "classify_ms" and "judge_ms", wall milliseconds per image, in
            batches, for making the prompts, for scoring with them and for judging names by them;
            what was not measured is not there.
        content: hash of the test set's pictures, labels and names; empty in records of before it
            was kept.
    """

    variant: Variant
    dataset: Name
    subset: Name
    total: Positive
    metrics: Metrics
    hits: str | None = None
    timings: dict[Name, Amount] = Field(default_factory=dict)
    content: Line = ""

    @model_validator(mode="after")
    def _check(self) -> Score:
        if self.hits is not None:
            hits = hit_bytes(self.hits, self.total)
            counted = 100 * int.from_bytes(hits).bit_count() / self.total
            said = self.metrics.get("accuracy", counted)
            if abs(said - counted) > SLACK:
                name = f"score {self.variant.label}/{self.subset}"
                raise ValueError(f"{name}: accuracy is {said}, its hits say {counted:.4f}")
        return self

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy in per cent; raises `DataError` where there is none."""
        if "accuracy" not in self.metrics:
            raise DataError(
                f"score {self.variant.label}/{self.subset}: there is no accuracy in it, only "
                f"{', '.join(self.metrics)}"
            )
        return self.metrics["accuracy"]

    def hit_list(self) -> list[bool]:
        """Decode ``hits``: one boolean per item; raises `DataError` where there are none."""
        if self.hits is None:
            raise DataError(f"score {self.variant.label}/{self.subset}: it keeps no hits")
        return unpack_hits(self.hits, self.total)


class Record(Fields):
    """Everything a finished job leaves for tables, figures and comparisons."""

    schema_name: Literal["diffuprompt.record/2"] = SCHEMA
    task: Literal["classification"] = "classification"
    job: Job
    scores: tuple[Score, ...]
    trainable_parameters: Count
    seconds: dict[Name, Amount]  # wall time of each stage
    statistics: dict[Name, Number]  # e.g. overfit_ce_before, peak_memory_mib, images_per_second
    hashes: dict[Name, Line]  # manifest, backbone, spec
    environment: dict[Name, Text]
    config: dict[Name, Any]
    command: Text

    @model_validator(mode="after")
    def _check(self) -> Record:
        if not self.scores:
            raise ValueError("scores: expected at least one, there is no score in it")
        problems = []
        seen: set[tuple[Variant, str, str]] = set()
        for i, score in enumerate(self.scores):
            key = (score.variant, score.dataset, score.subset)
            if key in seen:
                own = "" if score.dataset == self.job.dataset else f"{score.dataset}/"
                name = f"score {score.variant.label}/{own}{score.subset}"
                problems.append(f"scores.{i}: {name} is there twice")
            seen.add(key)
            if score.hits is None:
                problems.append(f"scores.{i}.hits: expected the hits of {score.total} items")
            if score.subset not in SUBSETS:
                expected = f"expected one of {list(SUBSETS)}, got {score.subset!r}"
                problems.append(f"scores.{i}.subset: {expected}")
            if "accuracy" not in score.metrics:
                problems.append(f"scores.{i}.metrics: expected an accuracy, got {score.metrics}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def score(self, variant: Variant, subset: str, dataset: str | None = None) -> Score | None:
        """Return one score, or None when the job did not measure it.

        ``dataset`` is the name of the test set; None for the job's own.
        """
        wanted = (variant, subset, self.job.dataset if dataset is None else dataset)
        for score in self.scores:
            if (score.variant, score.subset, score.dataset) == wanted:
                return score
        return None


def _short(value: object) -> str:
    """Return a number, or numbers joined by "+"."""
    every = value if isinstance(value, tuple) else (value,)
    return "+".join(f"{one:g}" for one in every)


def read_record(path: Path) -> Record:
    """Read and validate one record, of this schema or of the one before.

    Raises:
        DataError: the file is no record, is of a schema that this version does not know, or has
            fields that are missing or wrong; the first dozen problems of the file are named.
    """
    return read_fields(path, MAKERS)


MAKERS: Makers[Record] = {
    OLD_SCHEMA: lambda data: Record.model_validate(upgrade(data)),
    SCHEMA: Record.model_validate,
}
