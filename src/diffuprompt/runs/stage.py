"""A stage: one step of a run, named by everything that its result depends on, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffuprompt.errors import DataError

SCHEMA = "diffuprompt.stage/1"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What is computed, from what, and how; its key is the same on every machine.

    Attributes:
        name: the kind of stage, such as "learner" or "score".
        version: of the code behind it; raised by hand when the same inputs give other results.
        config: every setting that it reads, as JSON. A stage is carried out from these values,
            never from today's presets or defaults.
        inputs: role -> key of another stage, or hash of content.
    """

    name: str
    version: int
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Thirty-two hex digits over all of the above."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "config": dict(self.config),
            "inputs": dict(self.inputs),
        }

    @classmethod
    def from_json(cls, data: Any, source: str) -> Stage:
        """Inverse of `to_json`; raises `DataError` naming ``source``."""
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise DataError(f"{source}: expected a stage with schema {SCHEMA!r}")
        try:
            return cls(
                name=str(data["name"]),
                version=int(data["version"]),
                config=dict(data["config"]),
                inputs={str(k): str(v) for k, v in data["inputs"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as cause:
            raise DataError(
                f"{source}: not a valid stage ({type(cause).__name__}: {cause}); delete its folder"
            ) from cause


def digest(value: Any) -> str:
    """Return thirty-two hex digits over a JSON value; the order of keys does not count."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
