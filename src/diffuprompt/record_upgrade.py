"""Records of schema 1, as version 0.1 wrote them, in the form of schema 2.

Schema 1 kept how prompts were made in one string ("diffusion@nfe=10"), which nothing but this file
reads, had fixed fields for the metrics of classification, and scored the job's own data set only.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from diffuprompt.record_fields import SLACK, Count, Fields, Line, Name, Number, Positive

OLD_SCHEMA: Literal["diffuprompt.record/1"] = "diffuprompt.record/1"
NEW_SCHEMA = "diffuprompt.record/2"
CONTROLS = ("regression", "shuffled", "noise", "nearest", "mean", "oracle")
RESAMPLED = re.compile(r"(?P<generator>[^@]+)@(?P<what>nfe|samples)=(?P<number>[0-9]+)")
WAYS = r"^[^@]+(@(nfe|samples)=[0-9]{1,9})?$"  # all that version 0.1 wrote


class _Score(Fields):
    variant: Annotated[Name, Field(pattern=WAYS)]
    subset: Literal["base", "new", "all"]
    correct: Count
    total: Positive
    accuracy: Number
    macro_f1: Number
    nll: Number
    ece: Number
    selective: dict[Name, Number] | None = None
    aurc: Number | None = None
    generate_ms: Number | None = None
    classify_ms: Number | None = None
    hits: str

    @model_validator(mode="after")
    def _check(self) -> _Score:
        exact = 100 * self.correct / self.total
        if abs(self.accuracy - exact) > SLACK:
            raise ValueError(f"accuracy is {self.accuracy}, correct/total say {exact:.4f}")
        return self


class _Job(BaseModel):
    """What of a job the upgrade needs; the rest of it stays as it is, for `Record` to check."""

    dataset: Name
    generator: Line


class _Record(BaseModel):
    job: _Job
    scores: tuple[_Score, ...]


def upgrade(data: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a record of schema 1 as JSON of schema 2; ``data`` stays as it is.

    Values keep their full precision. Raises pydantic's ``ValidationError`` naming every field of
    the scores that is missing or wrong.
    """
    old = _Record.model_validate(data)
    scores = [_score(score, old.job) for score in old.scores]
    return {**data, "schema_name": NEW_SCHEMA, "task": "classification", "scores": scores}


def _score(old: _Score, job: _Job) -> dict[str, Any]:
    metrics = {name: getattr(old, name) for name in ("accuracy", "macro_f1", "nll", "ece")}
    metrics |= {f"selective_{share}": value for share, value in (old.selective or {}).items()}
    timings = {"generate_ms": old.generate_ms, "classify_ms": old.classify_ms}
    return {
        "variant": _variant(old.variant, job.generator),
        "dataset": job.dataset,
        "subset": old.subset,
        "total": old.total,
        "metrics": metrics if old.aurc is None else metrics | {"aurc": old.aurc},
        "hits": old.hits,
        "timings": {name: value for name, value in timings.items() if value is not None},
    }


def _variant(text: str, generator: str) -> dict[str, Any]:
    if text == "own":
        return {"prompts": "own"}
    if text in CONTROLS:
        return {"prompts": "control", "generator": generator, "control": text}
    resampled = RESAMPLED.fullmatch(text)
    if resampled is None:
        return {"prompts": "generated", "generator": text}
    field = {"nfe": "nfe", "samples": "draws"}[resampled["what"]]
    made_by, number = resampled["generator"], int(resampled["number"])
    return {"prompts": "generated", "generator": made_by, field: number}
