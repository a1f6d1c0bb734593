"""One grounding job as asked for; no weights are loaded here."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from diffuprompt.errors import ConfigError
from diffuprompt.jobs.grounding.recipes import find_recipe
from diffuprompt.jobs.kinds import check_kinds
from diffuprompt.ranges import (
    DEVICE_NAMES,
    DEVICES,
    OVERRIDES,
    PATH,
    SEED,
    SETTING,
    WORKERS,
    Range,
    misfits,
    shown,
)

AUTO = "auto"
VAL = "val"  # of a made world: the expressions on which settings are chosen
DETECTORS = {"scenes": "scenes-glip", "crowds": "scenes-glip", "collages": "collages-glip"}
_PATHS = ("data_root", "out", "runs_dir")
ONLY_HERE = ("data_root", "out", "runs_dir", "device", "workers")  # where and how, never what


@dataclass(frozen=True, kw_only=True)
class GroundingJobConfig:
    """What a user asks for; see ``diffuprompt ground train --help`` for each field.

    ``method`` is a row of `recipes.RECIPES`. ``setting`` changes no result: it is the name under
    which a report shows an ablation.
    """

    data: Annotated[str, PATH] = "scenes"
    data_root: Path | None = None
    test: Annotated[tuple[Annotated[str, Range(1, 200)], ...], Range(0, 100)] = ()
    masks_from: Annotated[str, Range(0, 4096)] = ""
    detector: Annotated[str, PATH] = AUTO
    method: str = "diff-prompt"
    preset: Literal["default", "paper", "released"] = "default"
    seed: Annotated[int, SEED] = 1
    overrides: OVERRIDES = ()
    setting: Annotated[str, SETTING] = ""
    out: Path | None = None
    runs_dir: Path = Path("runs")
    device: str = "auto"
    workers: Annotated[int, WORKERS] = 2

    def __post_init__(self) -> None:
        problems = [line.replace("overrides: ", "--set: ", 1) for line in misfits(self)]
        try:
            find_recipe(self.method)
        except ConfigError as error:
            problems.append(str(error))
        if isinstance(self.device, str) and not DEVICES.fullmatch(self.device):
            problems.append(f"device: expected {DEVICE_NAMES}, got {shown(self.device)}")
        if problems:
            raise ConfigError("\n  ".join(problems))

    @property
    def detector_name(self) -> str:
        """What "auto" means for the data.

        Raises:
            ConfigError: there is no detector for these data.
        """
        if self.detector != AUTO:
            return self.detector
        if self.data not in DETECTORS:
            raise ConfigError(
                "detector: 'auto' knows the made worlds only; for your own pictures name one, "
                "for example openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg"
            )
        return DETECTORS[self.data]

    def to_json(self) -> dict[str, Any]:
        """Return a form that JSON knows."""
        values = dataclasses.asdict(self)
        return {k: str(v) if k in _PATHS and v else v for k, v in values.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GroundingJobConfig:
        """Inverse of `to_json`; raises KeyError, TypeError or `ConfigError` for other data."""
        job = dict(data)
        check_kinds(cls, job)
        for key in _PATHS:
            job[key] = Path(job[key]) if job[key] else None
        for key in ("overrides", "test"):
            job[key] = tuple(job[key])
        return cls(**job)

    def command(self) -> str:
        """Return the command line, quoted for a shell, without what says where things are."""
        words = ["diffuprompt", "ground", "train"]
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in ONLY_HERE or (value == field.default and name not in ("method", "seed")):
                continue
            if name == "overrides":
                words += [word for text in value for word in ("--set", text)]
            elif name == "test":
                words += ["--test", *value]
            else:
                path = name in ("data", "detector", "masks_from") and _is_path(str(value))
                shown = Path(str(value)).name if path else str(value)
                words += [f"--{name.replace('_', '-')}", shown]
        return shlex.join(words)


def _is_path(text: str) -> bool:
    return text.startswith((".", "~")) or Path(text).is_absolute()
