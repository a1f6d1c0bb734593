"""What a matrix of jobs amounts to: all resolved, repeats dropped, learners before generators.

All that is wrong with any job is found here, before the first one starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from diffuprompt.checkpoints.header import read_header
from diffuprompt.checkpoints.load import load_clip, portable_name
from diffuprompt.data.catalog import names
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.sources import open_dataset
from diffuprompt.engine.device import pick
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.job import JobConfig, resolve
from diffuprompt.jobs.run_folder import RunFolder
from diffuprompt.jobs.train import run_name
from diffuprompt.matrix.entry import MatrixJob
from diffuprompt.record import read_record


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One job, the folder of its run, and what tells it apart from the others of a study.

    Attributes:
        asked: the job, and what of its run is scored.
        name: of the run; equal names are equal results on the same data.
        needs: name of the run whose learner a job with a generator takes over; None without one.
        manifest: hash of the data's manifest: a name holds no more of data than their own name.
    """

    asked: MatrixJob
    name: str
    needs: str | None
    manifest: str

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
        """Whether there is nothing left to do.

        Raises:
            ConfigError: the folder holds a finished run of other data with the same name.
        """
        folder = self.folder
        if not folder.is_finished:
            return False
        record = read_record(folder.record)
        found = record.hashes.get("manifest")
        if found != self.manifest:
            raise ConfigError(
                f"{folder.path}: holds a finished run of other data that are called "
                f"{record.job.dataset!r} too, or of these before they changed (manifest {found}, "
                f"expected {self.manifest}). Name another folder with --runs-dir, or delete this "
                "one to run the job again"
            )
        return self.asked.evaluation.is_in(record)


def plan(jobs: Sequence[MatrixJob]) -> tuple[Planned, ...]:
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


def _planned(asked: MatrixJob) -> Planned:
    job = asked.job
    manifest, scale = _known(job.data, job.data_root, job.backbone, job.device)
    resolved = resolve(
        job,
        dataset=manifest.name,
        backbone=portable_name(job.backbone),
        own_pictures=job.data not in names(),
        logit_scale=scale,
    )
    twin = run_name(replace(resolved, generator="none"))
    needs = None if job.generator == "none" else twin
    return Planned(asked=asked, name=run_name(resolved), needs=needs, manifest=manifest.hash)


@lru_cache
def _known(data: str, root: Path | None, backbone: str, device: str) -> tuple[Manifest, float]:
    """Return the data set's manifest and the backbone's logit scale."""
    manifest = open_dataset(data, root=root)
    seen = read_header(backbone)
    if seen is not None:
        return manifest, seen.scale
    return manifest, float(load_clip(backbone, device=pick(device)).scale)
