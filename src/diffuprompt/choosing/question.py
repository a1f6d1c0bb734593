"""What is asked: which pictures, which methods, how long; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.generators import KINDS
from diffuprompt.jobs import GENERATORS, NO_GENERATOR, JobConfig
from diffuprompt.learners import METHODS
from diffuprompt.ranges import FOLDS, MINUTES, NAMES, PATH, SEED, SHOTS, WORKERS, Range, misfits

PROTOCOL = "few-shot"  # all classes; what is chosen is trained by it


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A learner, and the generator that makes its prompts or "none"."""

    learner: str
    generator: str = NO_GENERATOR

    @property
    def title(self) -> str:
        """The learner, and "+generator" where there is one."""
        return self.learner + ("" if self.generator == NO_GENERATOR else f"+{self.generator}")


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which method is best for these pictures; see ``diffuprompt choose --help``.

    Attributes:
        data, data_root, allow_outside, exif_orientation, backbone, shots, seed, runs_dir, device,
            workers: as of the job that trains the winner, see `JobConfig`.
        minutes: the budget, features included.
        folds: parts that the training images are cut into, each held out once.
        learners: names to choose from; none for all.
        generators: "none" and names of generators; nothing for "none" and the first of the
            generators.
    """

    data: Annotated[str, PATH]
    data_root: Path | None = None
    allow_outside: bool = False
    exif_orientation: bool = False
    backbone: Annotated[str, PATH] = "auto"
    shots: Annotated[int, SHOTS] = 16
    seed: Annotated[int, SEED] = 1
    runs_dir: Path = Path("runs")
    device: str = "auto"
    workers: Annotated[int, WORKERS] = 2
    minutes: Annotated[float, MINUTES] = 10.0
    folds: Annotated[int, FOLDS] = 4
    learners: Annotated[NAMES, Range(0, 1000)] = ()
    generators: Annotated[NAMES, Range(0, 1000)] = ()

    def __post_init__(self) -> None:
        problems = misfits(self)
        for name, values, known in (
            ("learners", self.learners, list(METHODS)),
            ("generators", self.generators, list(GENERATORS)),
        ):
            problems += [
                f"{name}: expected some of {known}, got {value!r}.{near_miss(str(value), known)}"
                for value in values
                if value not in known
            ]
        if problems:
            raise ConfigError("\n  ".join(problems))

    @property
    def asked_generators(self) -> tuple[str, ...]:
        """The generators to try, "none" among them where it is asked for."""
        return self.generators or (NO_GENERATOR, next(iter(KINDS)))

    def job(self, candidate: Candidate) -> JobConfig:
        """Return the job that trains a candidate on all training images.

        Raises:
            ConfigError: the learner has no prompts that the generator could make.
        """
        return JobConfig(
            data=self.data,
            data_root=self.data_root,
            allow_outside=self.allow_outside,
            exif_orientation=self.exif_orientation,
            backbone=self.backbone,
            shots=self.shots,
            seed=self.seed,
            runs_dir=self.runs_dir,
            device=self.device,
            workers=self.workers,
            protocol=PROTOCOL,
            learner=candidate.learner,
            generator=candidate.generator,
        )
