"""``artifact.json``: everything of an artifact but its tensors, whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from diffuprompt.data import name_problems
from diffuprompt.diffusion import NEEDS_FIT
from diffuprompt.errors import CheckpointError
from diffuprompt.generators import KINDS
from diffuprompt.reading import read_json

SCHEMA: Literal["diffuprompt.artifact/2"] = "diffuprompt.artifact/2"
OLD_SCHEMA = "diffuprompt.artifact/1"
DESCRIPTION = "artifact.json"
MOST_NFE = 1000
SHOWN = 12


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeneratorPart(_Model):
    """How the generator was built: its own settings, and those it was fitted by."""

    name: str
    config: dict[str, Any]
    fit: dict[str, Any]
    seed: int
    scope: str = ""  # what the noise belongs to; 0.1 had none
    solvers: tuple[int, ...] = ()  # numbers of evaluations that a solver was fitted for

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in KINDS:
            raise ValueError(f"expected one of {list(KINDS)}")
        return name


class Description(_Model):
    """The content of ``artifact.json``."""

    schema_name: Literal["diffuprompt.artifact/2"] = SCHEMA
    backbone: str
    backbone_hash: str  # of the weights alone
    backbone_identity: str  # of all that features depend on; empty in artifacts of 0.1
    preprocess: dict[str, Any]
    classes: tuple[str, ...]
    learner: str
    learner_config: dict[str, Any]
    spec: list[dict[str, Any]]
    spec_hash: str
    generator: GeneratorPart | None
    tensors_hash: str
    training: dict[str, Any]


def read_description(folder: Path) -> Description:
    """Read and validate ``artifact.json``; all problems at once."""
    path = Path(folder) / DESCRIPTION
    data = read_json(path)
    found = data.get("schema_name") if isinstance(data, dict) else None
    if found not in (SCHEMA, OLD_SCHEMA):
        raise CheckpointError(
            f"{path}: expected schema {SCHEMA!r} or {OLD_SCHEMA!r}, got {found!r}; an artifact of "
            "a later version needs that version: pip install --upgrade diffuprompt"
        )
    try:
        return Description.model_validate(_upgraded(data) if found == OLD_SCHEMA else data)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise CheckpointError(f"{path}: not a valid artifact\n  " + "\n  ".join(lines)) from error


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Return an ``artifact.json`` of 0.1 as one of today."""
    part = data.get("generator")
    if isinstance(part, dict):
        config = part.get("config")
        solvers = []
        if isinstance(config, dict) and config.get("sampler") in NEEDS_FIT:
            solvers = [config.get("nfe")]
        part = {**part, "solvers": solvers}
    return {**data, "schema_name": SCHEMA, "backbone_identity": "", "generator": part}


