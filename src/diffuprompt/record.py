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
from diffuprompt.record_variant import ZERO_SHOT_NEW, Judging, Variant

__all__ = [
    "MAKERS", "OPEN", "SCHEMA", "SUBSETS", "ZERO_SHOT_NEW", "Job", "Judging", "Record", "Score",
    "Variant", "pack_hits", "read_record", "unpack_hits", "upgrade",
]  # fmt: skip

SCHEMA: Literal["diffuprompt.record/2"] = "diffuprompt.record/2"
OPEN = "open"  # images of base and then of new classes among the names of both
SUBSETS = ("base", "new", "all", OPEN)  # of the classes of a classification test set


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
        templates: the sentences that its names stood in, where the frozen backbone answers in the
            place of the run's learner.
    """

    variant: Variant
    dataset: Name
    subset: Name
    total: Positive
    metrics: Metrics
    hits: str | None = None
    timings: dict[Name, Amount] = Field(default_factory=dict)
    content: Line = ""
    templates: tuple[Line, ...] = ()

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
