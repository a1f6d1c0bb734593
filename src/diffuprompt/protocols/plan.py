"""What a matrix of jobs amounts to: all resolved, repeats dropped, learners before generators.

All that is wrong with any job is found here, before the first one starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from diffuprompt.clip.load import load_clip, portable_name
from diffuprompt.clip.peek import peek_clip
from diffuprompt.data.catalog import names
from diffuprompt.data.sources import open_dataset
from diffuprompt.engine.device import pick
from diffuprompt.protocols.job import JobConfig, resolve
from diffuprompt.protocols.run_folder import RunFolder
from diffuprompt.protocols.study import StudyJob
from diffuprompt.protocols.train import run_name
from diffuprompt.record import read_record


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One job, the folder of its run, and what tells it apart from the others of a study.

    Attributes:
        asked: the job, and what of its run is scored.
        name: of the run; equal names are equal results.
        needs: name of the run whose learner a job with a generator takes over; None without one.
    """

    asked: StudyJob
    name: str
    needs: str | None

    @property
    def job(self) -> JobConfig:
        """The job as asked."""
        return self.asked.job

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.job.runs_dir / self.name)

    @property
    def title(self) -> str:
        """What a person calls it."""
        return " ".join([*self.kind, f"seed {self.job.seed}"])

    @property
    def kind(self) -> tuple[str, ...]:
        """All but the seed: jobs of one kind take about as long."""
        generator = "" if self.job.generator == "none" else f"+{self.job.generator}"
        name, setting = Path(self.job.data).name, self.job.setting
        return (name, self.job.learner + generator, *([setting] if setting else []))

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        folder = self.folder
        return folder.is_finished and self.asked.evaluation.is_in(read_record(folder.record))


def plan(jobs: Sequence[StudyJob]) -> tuple[Planned, ...]:
    """Resolve jobs, drop repeats (the first stays), and put learners before what takes them over.

    Raises:
        ConfigError: a job does not fit its data or backbone.
        DataError, CheckpointError: data or a backbone cannot be found.
    """
    found: dict[str, Planned] = {}
    for asked in jobs:
        planned = _planned(asked)
        found.setdefault(planned.name, planned)
    return tuple(sorted(found.values(), key=lambda p: p.needs in found))


def _planned(asked: StudyJob) -> Planned:
    job = asked.job
    dataset, scale = _known(job.data, job.data_root, job.backbone, job.device)
    resolved = resolve(
        job,
        dataset=dataset,
        backbone=portable_name(job.backbone),
        own_pictures=job.data not in names(),
        logit_scale=scale,
    )
    twin = run_name(replace(resolved, generator="none"))
    needs = None if job.generator == "none" else twin
    return Planned(asked=asked, name=run_name(resolved), needs=needs)


@lru_cache
def _known(data: str, root: Path | None, backbone: str, device: str) -> tuple[str, float]:
    """Return the data set's name and the backbone's logit scale."""
    manifest = open_dataset(data, root=root)
    seen = peek_clip(backbone)
    if seen is not None:
        return manifest.name, seen.scale
    return manifest.name, float(load_clip(backbone, device=pick(device)).scale)
