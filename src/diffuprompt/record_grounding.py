"""The record of a grounding job: how each expression of some test sets was found, at what cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from diffuprompt.record_expressions import ExpressionScores
from diffuprompt.record_fields import Amount, Count, Fields, Line, Name, Number, Seed, Text
from diffuprompt.record_reading import read_fields

SCHEMA: Literal["diffuprompt.grounding-record/1"] = "diffuprompt.grounding-record/1"


class GroundingJob(Fields):
    """What was run; two records with equal jobs are repetitions of the same experiment.

    Attributes:
        dataset: the world or data set that the method learned from.
        detector: name of the frozen detector.
        detector_hash: of its weights and configuration.
        method: "zero-shot", "diff-prompt", a control or a rival.
        seed: of the training.
        expressions: how many the method learned from; 0 where nothing was trained, so that the
            seed changes nothing.
        setting: what is special about an ablation, such as "depth=2"; empty for main rows.
    """

    dataset: Name
    detector: Name
    detector_hash: Name
    method: Name
    seed: Seed
    expressions: Count
    setting: Line = ""


class GroundingRecord(Fields):
    """Everything a finished grounding job leaves for tables, figures and comparisons.

    Attributes:
        job: what was run.
        tests: what became of the expressions, one entry per test set.
        trainable_parameters: what learning from boxes changed: prompts, adapters, a head.
        generator_parameters: of the mask generator that the method reads (stages 1 and 2).
        total_parameters: of all that runs for a picture, frozen parts and generator included.
        seconds: wall time of training by stage.
        statistics: e.g. "peak_memory_mib", "vae_iou".
        hashes: of what the record was made from.
        environment: machine and versions.
        config: every value that counts.
        command: what made it.
    """

    schema_name: Literal["diffuprompt.grounding-record/1"] = SCHEMA
    task: Literal["grounding"] = "grounding"
    job: GroundingJob
    tests: tuple[ExpressionScores, ...] = Field(min_length=1)
    trainable_parameters: Count
    generator_parameters: Count = 0
    total_parameters: Count
    seconds: dict[Name, Amount]
    statistics: dict[Name, Number]
    hashes: dict[Name, Line]
    environment: dict[Name, Text]
    config: dict[Name, Any]
    command: Text

    @model_validator(mode="after")
    def _check(self) -> GroundingRecord:
        names = [scores.test for scores in self.tests]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"tests: {', '.join(twice)}: expected each test set once")
        if self.trainable_parameters + self.generator_parameters > self.total_parameters:
            raise ValueError(
                f"total_parameters: expected at least the {self.trainable_parameters} trainable "
                f"and {self.generator_parameters} of the generator, got {self.total_parameters}"
            )
        return self

    def scores(self, test: str) -> ExpressionScores | None:
        """Return what became of one test set, or None when the job did not score it."""
        return next((scores for scores in self.tests if scores.test == test), None)


def read_grounding_record(path: Path) -> GroundingRecord:
    """Read and validate one record of a grounding job.

    Raises:
        DataError: as `record.read_record` does.
    """
    return read_fields(path, {SCHEMA: GroundingRecord.model_validate})
