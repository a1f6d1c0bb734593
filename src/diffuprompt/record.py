"""The record: the one validated JSON file that a finished job leaves, and all that a report reads.

Accuracies are percentages at full precision. ``hits`` keeps, for every test image in manifest
order, whether the top-1 answer was right, so that two records can be compared image by image.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from diffuprompt.errors import DataError

SCHEMA: Literal["diffuprompt.record/1"] = "diffuprompt.record/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(_Model):
    """What was run; two records with equal jobs are repetitions of the same experiment.

    ``setting`` names what is special about an ablation, such as "overfit.steps=3"; it is empty for
    the runs that the main tables show.
    """

    dataset: str
    backbone: str
    learner: str
    generator: str  # "none" when the learner's own prompts are used
    protocol: Literal["base-to-new", "few-shot", "holdout"]
    shots: int
    seed: int
    setting: str = ""


class Score(_Model):
    """Quality of one way of making prompts (``variant``) on one set of test images (``subset``).

    ``variant`` is "own" for the learner's own prompts, the generator's name for generated ones, or
    a control: "oracle", "regression", "shuffled", "noise", "nearest", "mean"; "diffusion@nfe=10" is
    the same generator sampled in another way. ``subset`` is "base", "new" or "all".

    ``selective`` is the accuracy on the most confident images alone, by coverage in per cent ("50",
    "80", "90"), and ``aurc`` the area under the risk-coverage curve, in per cent. ``generate_ms``
    and ``classify_ms`` are wall milliseconds an image, in batches, for making the prompts and for
    scoring with them. Records from before they were measured have none of these.
    """

    variant: str
    subset: Literal["base", "new", "all"]
    correct: int
    total: int
    accuracy: float
    macro_f1: float
    nll: float
    ece: float
    selective: dict[str, float] | None = None
    aurc: float | None = None
    generate_ms: float | None = None
    classify_ms: float | None = None
    hits: str

    def hit_list(self) -> list[bool]:
        """Decode ``hits``: one boolean a test image."""
        return unpack_hits(self.hits, self.total)


class Record(_Model):
    """Everything a finished job leaves for tables, figures and comparisons."""

    schema_name: Literal["diffuprompt.record/1"] = SCHEMA
    job: Job
    scores: tuple[Score, ...]
    trainable_parameters: int
    seconds: dict[str, float]  # wall time of each stage
    statistics: dict[str, float]  # e.g. overfit_ce_before, peak_memory_mib, images_per_second
    hashes: dict[str, str]  # manifest, backbone, spec
    environment: dict[str, str]
    config: dict[str, Any]
    command: str

    def score(self, variant: str, subset: str) -> Score | None:
        """Return one score, or None when the job did not measure it."""
        for score in self.scores:
            if (score.variant, score.subset) == (variant, subset):
                return score
        return None


def pack_hits(hits: Sequence[bool]) -> str:
    """Encode booleans as base64 of their bits, first image in the highest bit."""
    out = bytearray((len(hits) + 7) // 8)
    for i, hit in enumerate(hits):
        if hit:
            out[i // 8] |= 128 >> (i % 8)
    return base64.b64encode(bytes(out)).decode()


def unpack_hits(text: str, total: int) -> list[bool]:
    """Inverse of `pack_hits` for ``total`` images."""
    raw = base64.b64decode(text)
    return [bool(raw[i // 8] & (128 >> (i % 8))) for i in range(total)]


def read_record(path: Path) -> Record:
    """Read and validate one record; all problems of the file are reported at once."""
    try:
        return Record.model_validate_json(path.read_text())
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise DataError(f"{path}: not a valid record\n  " + "\n  ".join(lines)) from error
