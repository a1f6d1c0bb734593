"""Score a trained run on any number of test sets, and write its record.

What was stored counts: the configuration of the run, its artifact, its stages. Nothing is resolved
anew, and nothing is trained again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from diffuprompt.data import names
from diffuprompt.engine import NULL, Progress, write_text
from diffuprompt.errors import CheckpointError, ConfigError, DataError, DiffupromptError
from diffuprompt.hub import Artifact, load_artifact
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.long_names import refuse_long_names
from diffuprompt.jobs.prepared import Prepared, prepare
from diffuprompt.jobs.record import make_record
from diffuprompt.jobs.run_folder import RUN, Run, RunFolder, read_run
from diffuprompt.jobs.same_inputs import check_at_hand, check_inputs
from diffuprompt.jobs.scoring import Scoring
from diffuprompt.jobs.sources import Sources
from diffuprompt.jobs.test_sets import (
    TestSet,
    check_distinct,
    is_of,
    open_test_set,
    unscored,
    wanted_test_sets,
)
from diffuprompt.record import Record, Score, Variant, read_record

log = logging.getLogger(__name__)


def evaluate_run(
    run: Path,
    *,
    evaluation: Evaluation | None = None,
    data: Sequence[str] = (),
    test_data: Sequence[str] | None = None,
    data_root: Path | None = None,
    allow_outside: bool = False,
    again: bool = False,
    rehash: bool = False,
    save_every_s: float = 30.0,
    progress: Progress = NULL,
) -> Path:
    """Score a trained run and return its ``record.json``.

    What the record holds already of the same images is left alone; what is missing is added.

    Args:
        run: a folder that `train_job` returned.
        evaluation: what to score of generated prompts; None for everything but sweeps.
        data: data sets to test on, see `open_test_set`; none: all that the run was made for.
        test_data: without ``data``, other data sets in the place of those that the run was made
            for; they must be there. None: those, as far as they are still there.
        data_root: where they are; None: as for the run's own. Without ``data``, where the run's
            own images are now.
        allow_outside: read files outside that folder too.
        again: score anew what has been scored.
        rehash: read every file again, whatever is remembered of its content.
        save_every_s: seconds of work that a kill may cost.
        progress: shows what is going on.

    Raises:
        DataError: no run, not trained, or data that cannot be read.
        ConfigError: the run was trained on other images than are there now.
        CheckpointError: the backbone or the artifact is not the one that was trained.
    """
    folder = RunFolder(Path(run))
    stored = read_run(folder.path)
    if not folder.is_trained:
        raise DataError(
            f"{folder.path}: not trained to the end; give its 'diffuprompt train' command again "
            "to resume it"
        )
    whole = _Evaluation(
        folder=folder,
        run=stored,
        evaluation=evaluation or Evaluation(),
        data=tuple(data),
        test_data=None if test_data is None else tuple(test_data),
        data_root=data_root or stored.job.data_root,
        root=data_root,
        allow_outside=allow_outside or stored.job.allow_outside,
        again=again,
        rehash=rehash,
        save_every_s=save_every_s,
        progress=progress,
    )
    if not whole.missing(_record_of(folder)):  # which is said of others' runs too, unlocked
        log.info("%s is evaluated already; --again scores it anew", folder.path)
        return folder.record
    with folder.held():
        before = _record_of(folder)
        if whole.missing(before):
            record = whole.carry_out(before)
            write_text(folder.record, record.model_dump_json(indent=1) + "\n")
    return folder.record


def _record_of(folder: RunFolder) -> Record | None:
    return read_record(folder.record) if folder.is_finished else None


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    """One call of `evaluate_run`."""

    folder: RunFolder
    run: Run
    evaluation: Evaluation
    data: tuple[str, ...]
    test_data: tuple[str, ...] | None
    data_root: Path | None
    root: Path | None  # as asked now, whatever the run says
    allow_outside: bool
    again: bool
    rehash: bool
    save_every_s: float
    progress: Progress

    @cached_property
    def prepared(self) -> Prepared:
        """The run's own job, as it was resolved when it was trained."""
        others = () if self.data else self.test_data
        job = replace(self.run.job, rehash=self.rehash)
        job = job if others is None else replace(job, test_data=others)
        if self.root is not None and not self.data:
            job = _moved(job, self.root)
        check_at_hand(self.folder, job)
        sources = Sources(rehash=job.rehash)
        try:
            job = job if others is not None else self._still_there(job, sources)
            prepared = prepare(job, self.progress, stored=self.run.resolved, sources=sources)
        except DiffupromptError as error:
            kinds = (ConfigError, DataError, CheckpointError, DiffupromptError)
            kind = next(k for k in kinds if isinstance(error, k))
            raise kind(f"{self.folder.path / RUN}: {error}{_way_out(job, error)}") from error
        check_inputs(self.folder, self.run, prepared)
        return prepared

    def _still_there(self, job: JobConfig, sources: Sources) -> JobConfig:
        """Return the job without other data sets that are not on this machine any more."""
        here, gone = sources.sorted_out(job.test_data, job)
        if gone:
            log.warning(
                "%s: not scored, since they are not here any more: %s; scores of before stay",
                *(self.folder.path, ", ".join(gone)),
            )
        return replace(job, test_data=tuple(here))

    @cached_property
    def test_sets(self) -> list[TestSet]:
        """What is asked for."""
        contents, progress = self.prepared.contents, self.progress
        if self.data:
            own = {self.run.job.data, self.prepared.manifest.name}
            if self.evaluation.open_world and own.isdisjoint(self.data):
                raise ConfigError(
                    "open_world: only the run's own data set has base and new classes; name "
                    f"{self.prepared.manifest.name!r} too, or leave out --data"
                )
            sets: list[TestSet] = []
            for spec in self.data:
                sets += (
                    self._own
                    if spec in own
                    else [
                        open_test_set(
                            *(spec, self.data_root, contents, progress),
                            allow_outside=self.allow_outside,
                        )
                    ]
                )
        else:
            sets = self._own
        check_distinct(sets)
        options, header = self.prepared.resolved.learner_options, self.prepared.header
        refuse_long_names([(t.root, t.selection.classes) for t in sets], options, header)
        # Two copies of the same images are one test set.
        return list({(one.dataset, one.subset): one for one in sets}.values())

    @cached_property
    def _own(self) -> list[TestSet]:
        open_world = self.evaluation.open_world
        return wanted_test_sets(self.prepared, self.progress, open_world=open_world)

    @cached_property
    def _known(self) -> list[TestSet]:
        """What scores of before are compared with: images of the open world are the run's own."""
        open_world = self.prepared.roles.open_world is not None
        own = wanted_test_sets(self.prepared, self.progress, open_world=open_world)
        return [*self.test_sets, *own]

    def missing(self, record: Record | None) -> list[tuple[TestSet, Variant]]:
        """Return what is asked for and not in ``record`` with the same images."""
        before, generator = None if self.again else record, self.run.resolved.generator
        return unscored(before, self.test_sets, self.evaluation, generator)

    def carry_out(self, before: Record | None) -> Record:
        """Score what is missing and return the record with it."""
        bench = self.prepared.load(self.progress, save_every_s=self.save_every_s)
        artifact: Artifact = load_artifact(self.folder.artifact, clip=bench.clip, plan=bench.plan)
        scoring = Scoring(
            bench=bench,
            prepared=self.prepared,
            run=self.run,
            store=self.folder.store,
            artifact=artifact,
            again=self.again,
        )
        scores = [scoring.score(test, variant) for test, variant in self.missing(before)]
        made = {(s.dataset, s.subset, s.variant) for s in scores}
        kept = [s for s in (before.scores if before else ()) if _key(s) not in made]
        changed = [s for s in kept if not is_of(s, self._known)]
        for score in changed:
            log.warning(
                "%s: the images of %s, %s have changed since they were scored; scores of before "
                "are left out of the record", self.folder.path, score.dataset, score.subset,
            )  # fmt: skip
        kept = [s for s in kept if s not in changed]
        return make_record(
            bench=bench,
            prepared=self.prepared,
            run=self.run,
            folder=self.folder,
            artifact=artifact,
            scores=(*kept, *scores),
            seconds=scoring.seconds + (before.seconds.get("evaluate", 0.0) if before else 0.0),
        )


def _moved(job: JobConfig, root: Path) -> JobConfig:
    """Return the job with its images in ``root``; whether they are the same is checked later."""
    data = Path(job.data)
    if job.data in names() or data.exists():
        return replace(job, data_root=root)
    return replace(job, data=str(root / data.name if data.suffix else root), data_root=None)


def _way_out(job: JobConfig, error: DiffupromptError) -> str:
    """Return what to do about a run that was made on another machine."""
    if isinstance(error, DataError):
        return "\n  if the run's images are elsewhere now, name their folder with --data-root"
    if isinstance(error, CheckpointError):
        return f"\n  if the backbone is elsewhere now, say so in {RUN}: job.backbone"
    return ""


def _key(score: Score) -> tuple[str, str, Variant]:
    return (score.dataset, score.subset, score.variant)
