"""Data sets, backbones and hashes that several jobs share, opened once each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffuprompt.checkpoints import AUTO, Header, choose_backbone, read_header
from diffuprompt.data import (
    Manifest,
    base_new,
    domain_folder,
    doubtful_names,
    names,
    open_dataset,
    open_domains,
    registered,
)
from diffuprompt.errors import AbsentDataError, DataError
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.run_folder import read_run
from diffuprompt.jobs.specs import HALVES, name_and_subset
from diffuprompt.runs import Contents

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Other data to test on.

    Attributes:
        manifest: what is in its test split counts.
        subset: which of the classes it has: "all", or the half "base" or "new".
        catalog: the name under which it was published; "" for a user's own, whatever its name.
    """

    manifest: Manifest
    subset: str = "all"
    catalog: str = ""

    @property
    def title(self) -> str:
        """What a user calls it."""
        return self.manifest.name + ("" if self.subset == "all" else f":{self.subset}")


class Sources:
    """What jobs are made from; what one has opened is there for the next.

    Args:
        rehash: read every file again, whatever is remembered.
        training_only: leave out every test image, whether or not it is there: for what must not
            know them.
    """

    def __init__(self, *, rehash: bool = False, training_only: bool = False) -> None:
        self.contents = Contents(rehash=rehash)
        self._training_only = training_only
        self._opened: dict[object, tuple[Manifest, tuple[Target, ...]]] = {}
        self._targets: dict[object, Target] = {}
        self._headers: dict[tuple[str, bool], Header] = {}
        self._chosen: dict[str, str] = {}

    def settled(self, job: JobConfig) -> JobConfig:
        """Return a job with the backbone that ``auto`` means for its data, chosen once.

        A run that is in the job's folder keeps its own, whatever has come to this machine since.
        """
        if job.backbone != AUTO:
            return job
        if job.out is not None and (job.out / "run.json").is_file():
            return replace(job, backbone=read_run(job.out).job.backbone)
        if job.data not in self._chosen:
            self._chosen[job.data] = choose_backbone(job.data).name
        return replace(job, backbone=self._chosen[job.data])

    def manifest(self, job: JobConfig) -> Manifest:
        """Return the data set of a job, which must have what training and scoring need."""
        return self._open(job)[0]

    def with_targets(
        self, job: JobConfig, defaults: Mapping[str, tuple[str, ...]]
    ) -> tuple[JobConfig, tuple[Target, ...]]:
        """Return what else a job is scored on, and the job with the names of those that it names.

        Where it names none, these are the domains that do not train, and the ``defaults`` of its
        data set, as far as they are on this machine; those that are not are said in the log.

        Raises:
            DataError: what is named is not there, what is there is damaged, or a class has no test
                image.
        """
        domains = self._open(job)[1]
        if job.test_data or job.data not in defaults:
            return job, (*domains, *(self._target(spec, job) for spec in job.test_data))
        here, missing = self.sorted_out(defaults[job.data], job)
        if missing:
            log.warning(
                "not scored, since they are not here: %s ('diffuprompt ls datasets' says what "
                "is; 'diffuprompt evaluate RUN --data NAME' adds scores later)", ", ".join(missing),
            )  # fmt: skip
        found = [self._target(spec, job) for spec in here]
        return replace(job, test_data=tuple(here)), (*domains, *found)

    def sorted_out(self, specs: Sequence[str], job: JobConfig) -> tuple[list[str], list[str]]:
        """Return which other data sets have images on this machine, and which have not.

        Raises:
            DataError: there are images, and something is wrong with them.
        """
        here, missing = list[str](), list[str]()
        for spec in specs:
            try:
                self._target(spec, job)
                here.append(spec)
            except AbsentDataError:
                missing.append(spec)
        return here, missing

    def header(self, job: JobConfig) -> Header:
        """Return what the backbone of a job says about itself."""
        key = (job.backbone, job.exif_orientation)
        if key not in self._headers:
            found = read_header(job.backbone)
            if job.exif_orientation:
                turned = replace(found.preprocess, exif_orientation=True)
                found = replace(found, preprocess=turned)
            self._headers[key] = found
        return self._headers[key]

    def _open(self, job: JobConfig) -> tuple[Manifest, tuple[Target, ...]]:
        """Return the data set, and the domains that come with it and do not train."""
        outside = job.allow_outside
        key = (job.data, job.data_root, outside, job.layout, job.train_domains)
        if key not in self._opened:
            # unchecked, so that everything is said at once, in the words of `data verify`
            others: tuple[Manifest, ...] = ()
            if job.layout == "domains":
                mine = registered().get(job.data)
                opened, others = open_domains(
                    domain_folder(job.data, job.data_root),
                    job.train_domains,
                    title=job.data if mine else "",
                    allow_outside=outside or (mine is not None and mine.allow_outside),
                )
            else:
                opened = open_dataset(
                    job.data, root=job.data_root, check=False, allow_outside=outside
                )
            for doubt in doubtful_names(opened):
                log.warning("%s", doubt)
            if self._training_only:
                opened = replace(opened, splits={**opened.splits, "test": ()})
            opened.check(needs=("train",) if self._training_only else ("train", "test"))
            domains = [Target(manifest=each.check(needs=())) for each in others]
            self._opened[key] = (opened, tuple(domains))
        return self._opened[key]

    def _target(self, spec: str, job: JobConfig) -> Target:
        key = (spec, job.data_root, job.allow_outside)
        if key not in self._targets:
            self._targets[key] = open_target(spec, job.data_root, allow_outside=job.allow_outside)
        return self._targets[key]


def open_target(spec: str, root: Path | None, *, allow_outside: bool = False) -> Target:
    """Open the test images of another data set; nothing is hashed.

    Args:
        spec: what `open_dataset` takes; ":base", ":new" or ":all" behind it choose a half of the
            classes, by default all.
        root: where images or data sets are, as for `open_dataset`.
        allow_outside: read files outside the folder of the images too.

    Raises:
        DataError: there is no such data set, or a class has no test image.
    """
    name, subset = name_and_subset(spec)
    manifest = open_dataset(name, root=root, check=False, allow_outside=allow_outside)
    for doubt in doubtful_names(manifest):
        log.warning("%s", doubt)
    manifest.check(needs=("test",))
    if subset != "all":
        manifest = base_new(manifest)[HALVES.index(subset)]
        if len(manifest.classes) < 2:
            raise DataError(f"{spec}: expected at least two classes, got {manifest.classes}")
    return Target(manifest=manifest, subset=subset, catalog=published_name(name))


def published_name(spec: str) -> str:
    """Return a published data set's name, "" for what is a user's own."""
    return spec if spec in names() else ""
