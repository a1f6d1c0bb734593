"""``artifact.json``: everything of an artifact but its tensors, whoever wrote it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from diffuprompt.data import name_problems
from diffuprompt.diffusion import NEEDS_FIT
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.generators import KINDS
from diffuprompt.hub.calibration import Calibration
from diffuprompt.reading import read_json
from diffuprompt.runs import digest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA: Literal["diffuprompt.artifact/2"] = "diffuprompt.artifact/2"
OLD_SCHEMA = "diffuprompt.artifact/1"
DESCRIPTION = "artifact.json"
MOST_NFE = 1000
MOST = 10**6
SHOWN = 12
T = TypeVar("T", bound="DataclassInstance")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeneratorPart(_Model):
    """How the generator was built: its own settings, and those it was fitted by."""

    name: StrictStr
    config: dict[str, Any]
    fit: dict[str, Any]
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)]
    scope: StrictStr = ""  # what the noise belongs to; 0.1 had none
    # numbers of evaluations that a solver was fitted for
    solvers: tuple[Annotated[StrictInt, Field(ge=1, le=MOST_NFE)], ...] = Field((), max_length=64)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in KINDS:
            raise ValueError(f"expected one of {list(KINDS)}")
        return name


class Description(_Model):
    """The content of ``artifact.json``."""

    schema_name: Literal["diffuprompt.artifact/2"] = SCHEMA
    backbone: StrictStr
    backbone_hash: StrictStr  # of the weights alone
    backbone_identity: StrictStr  # of all that features depend on; empty in artifacts of 0.1
    preprocess: dict[str, Any]
    classes: tuple[StrictStr, ...]
    learner: StrictStr
    learner_config: dict[str, Any]
    spec: list[dict[str, Any]]
    spec_hash: StrictStr
    generator: GeneratorPart | None
    tensors_hash: StrictStr
    training: dict[str, Any]
    calibration: Calibration | None = None  # left out of the file where there is none
    checksum: StrictStr = ""  # of all the rest, see `sealed`; empty in artifacts of before it

    @field_validator("classes")
    @classmethod
    def _names(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        problems = name_problems(classes) if classes else ["expected at least one class name"]
        if problems:
            raise ValueError("; ".join(problems[:SHOWN]))
        return classes


def as_json(description: Description) -> dict[str, Any]:
    """Return the content of ``artifact.json``; without a calibration as before there was one."""
    data = description.model_dump(mode="json")
    if description.calibration is None:
        del data["calibration"]
    return data


def sealed(description: Description) -> Description:
    """Return a description with the checksum of what it says."""
    return description.model_copy(update={"checksum": _checksum(as_json(description))})


def check_seal(description: Description, path: Path) -> None:
    """Raise `CheckpointError` where something was altered that nothing else contradicts."""
    if description.checksum not in ("", sealed(description).checksum):
        raise CheckpointError(
            f"{path}: its checksum differs, so something in it was altered; copy the whole "
            "artifact folder again, or give other class names with --classes"
        )


def _checksum(data: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in data.items() if key != "checksum"})


def read_description(folder: Path) -> Description:
    """Read and validate ``artifact.json``; all problems at once.

    Raises:
        CheckpointError: the file is missing, damaged, or of a later version.
    """
    path = Path(folder) / DESCRIPTION
    data = read_json(path)
    found = data.get("schema_name") if isinstance(data, dict) else None
    if found not in (SCHEMA, OLD_SCHEMA):
        raise CheckpointError(
            f"{path}: expected schema {SCHEMA!r} or {OLD_SCHEMA!r}, got {ascii(found)[:80]}; an "
            "artifact of a later version needs that version: pip install --upgrade diffuprompt"
        )
    try:
        return Description.model_validate(_upgraded(data) if found == OLD_SCHEMA else data)
    except ValidationError as error:
        lines = "\n  ".join(_lines(error))
        raise CheckpointError(f"{path}: not a valid artifact\n  {lines}") from error


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Return an ``artifact.json`` of 0.1 as one of today."""
    part = data.get("generator")
    if isinstance(part, dict):
        config = part.get("config")
        solvers = []
        if isinstance(config, dict) and config.get("sampler") in list(NEEDS_FIT):
            solvers = [config.get("nfe")]
        part = {**part, "solvers": solvers}
    return {**data, "schema_name": SCHEMA, "backbone_identity": "", "generator": part}


def typed(default: T, values: Mapping[str, Any], limits: Mapping[str, int]) -> T:
    """Return a dataclass like ``default`` with some values changed, each of its field's own kind.

    Args:
        default: an instance with all values.
        values: what an artifact says, as JSON has it.
        limits: the largest number of a field; `MOST` for all others. Whoever builds what is
            described may take memory in proportion to these numbers.

    Raises:
        ConfigError: there is no such field, or a value is of another kind or too large.
    """
    known = [f.name for f in dataclasses.fields(default)]
    problems = [
        f"has no option {ascii(key)[:80]}, expected one of {known}"
        for key in values
        if key not in known
    ]
    for key, value in values.items():
        most = limits.get(key, MOST)
        if isinstance(value, int | float) and abs(value) > most:
            problems.append(f"{key}: expected at most {most}, got {ascii(value)[:40]}")
    if problems:
        raise ConfigError("; ".join(problems))
    text = json.dumps({**dataclasses.asdict(default), **values})
    try:
        # of JSON, for only there a strict reading takes 1 for a float and a list for a tuple
        return TypeAdapter(type(default)).validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError("; ".join(_lines(error))) from error


def _lines(error: ValidationError) -> list[str]:
    found = error.errors()
    lines = [
        f"{ascii('.'.join(map(str, e['loc'])))[1:-1][:80]}: {e['msg']}, got "
        f"{ascii(e['input'])[:80]}"
        for e in found[:SHOWN]
    ]
    return lines + ([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])
