"""Candidates on folds: each trial is a chain of stages, so that a finished one is found by its key.

Features of the training images are computed once for all candidates and folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from diffuprompt.choosing.deadline import Deadline
from diffuprompt.choosing.halving import Result, Round
from diffuprompt.choosing.question import Candidate, Question
from diffuprompt.engine import Progress
from diffuprompt.errors import ConfigError, DiffupromptError, TrainingError
from diffuprompt.jobs import (
    NO_GENERATOR,
    Fold,
    Prepared,
    RunFolder,
    Sources,
    folds_of,
    hold_out,
    image_set,
    prepare,
    store_beside,
    train_stages,
)
from diffuprompt.learners import METHODS
from diffuprompt.protocols import Selection
from diffuprompt.record import Variant, unpack_hits
from diffuprompt.runs import Stage, Store
from diffuprompt.stages import Bench, generated_prompts, score_stage, scored, untrained, warm_for

VIEWS = 4  # random views of a picture, whatever a recipe has: 0 means a fresh one every epoch
SAVE_EVERY_S = 5.0  # a trial that is stopped must not lose its whole share


class Trials:
    """Everything that is tried, opened and checked; no weight is loaded before the first trial."""

    def __init__(self, question: Question, progress: Progress, clock: Callable[[], float]) -> None:
        """Open the training images, and resolve every candidate.

        Raises:
            DataError: the pictures cannot be read, or are too few to hold any out.
            CheckpointError: there is no such backbone.
            ConfigError: no candidate fits them and the backbone.
        """
        self.question, self._clock = question, clock
        self._deadline = Deadline(progress, clock)
        self._sources = Sources(training_only=True)
        self.prepared: dict[Candidate, Prepared] = {}
        self.left_out: dict[str, str] = {}
        any_job = question.job(Candidate(learner=next(iter(METHODS))))
        self._sources.manifest(any_job)
        self._sources.header(self._sources.settled(any_job))
        for learner in dict.fromkeys(question.learners or METHODS):
            for generator in dict.fromkeys(question.asked_generators):
                self._add(Candidate(learner=learner, generator=generator))
        if not self.prepared:
            lines = [f"{name}: {why}" for name, why in self.left_out.items()]
            raise ConfigError("\n  ".join(["no method can be tried", *lines]))
        labels = [item.label for item in self._selection.items]
        self._fold_of = folds_of(labels, question.folds)
        largest = max((f for f in self._fold_of if f is not None), default=0)
        self.num_folds = min(question.folds, largest + 1)
        self._benches: dict[str, Bench] = {}

    def _add(self, candidate: Candidate) -> None:
        """Resolve a candidate, or remember why it cannot be tried."""
        generates = METHODS[candidate.learner].options.generates
        if candidate.generator != NO_GENERATOR and not generates:
            if NO_GENERATOR not in self.question.asked_generators:
                self.left_out[candidate.title] = "it has no prompts to generate"
            return
        try:
            job = self.question.job(candidate)
            self.prepared[candidate] = prepare(job, self._deadline, sources=self._sources)
        except DiffupromptError as error:
            self.left_out[candidate.title] = str(error)

    @property
    def _selection(self) -> Selection:
        return next(iter(self.prepared.values())).roles.train

    @property
    def num_pictures(self) -> int:
        """Training images, held out or not."""
        return len(self._selection.items)

    @cached_property
    def _store(self) -> Store:
        return RunFolder(self.question.runs_dir / "choose").store

    def first(self) -> list[Candidate]:
        """Return those to begin with, the cheapest first; generators wait for their learners."""
        alone = [c for c in self.prepared if c.generator == NO_GENERATOR] or list(self.prepared)
        costs: dict[Candidate, tuple[bool, int]] = {}
        for candidate in alone:
            prepared = self.prepared[candidate]
            bench, train = self._bench(prepared), prepared.resolved.train
            try:
                learner = untrained(bench, prepared.chain.learner)
            except DiffupromptError as error:
                self.left_out[candidate.title] = str(error)
                continue
            costs[candidate] = (learner.training_needs.grid, train.epochs)
        return sorted(costs, key=costs.__getitem__)

    def partners(self, kept: Sequence[Candidate]) -> list[Candidate]:
        """Return the generators of the learners that were kept."""
        learners = {c.learner for c in kept if c.generator == NO_GENERATOR}
        return [c for c in self.prepared if c.generator != NO_GENERATOR and c.learner in learners]

    def ready(self, candidate: Candidate, what: Round, until: float) -> bool:
        """Compute the views of the training images that a candidate reads, as others may too."""
        prepared = _shortened(self.prepared[candidate], what.share)
        bench, stage = self._bench(prepared), prepared.chain.learner
        with self._deadline.at(until) as done:
            warm_for(bench, stage)
        return not done.stopped

    def attempt(self, candidate: Candidate, what: Round, until: float) -> Result | str | None:
        """Return what a candidate does on the first folds, None where time ran out before."""
        hits: dict[int, bool] = {}
        seconds = 0.0
        prepared = _shortened(self.prepared[candidate], what.share)
        try:
            with self._deadline.at(until) as done:
                for fold in range(min(what.folds, self.num_folds)):
                    found, took = self._fold(candidate, prepared, fold)
                    hits |= found
                    seconds += took
        except TrainingError as error:
            return str(error)
        return None if done.stopped else Result(hits=hits, seconds=seconds)

    def _fold(
        self, candidate: Candidate, whole: Prepared, number: int
    ) -> tuple[dict[int, bool], float]:
        """Return hits by position, and the seconds of training and scoring."""
        fold = hold_out(
            whole, self._bench(whole), [p for p, f in enumerate(self._fold_of) if f == number]
        )
        made = train_stages(fold.prepared, fold.bench, self._store)
        result = scored(
            fold.bench,
            self._store,
            _score_stage(candidate, fold),
            made.learner,
            fold.held,
            lambda: [] if made.generator is None else [generated_prompts(made.generator)],
            f"scoring {candidate.title} (fold {number + 1})",
        )
        took = result.seconds + sum(f.values()["seconds"] for f in made.folders.values())
        right = unpack_hits(result.hits, result.total)
        return dict(zip(fold.positions, right, strict=True)), took

    def _bench(self, prepared: Prepared) -> Bench:
        """Return the backbone with all training images, in the candidate's random views."""
        augment = prepared.resolved.train.augment
        if not self._benches:
            self._benches[augment] = prepared.load(self._deadline, save_every_s=SAVE_EVERY_S)
        if augment not in self._benches:
            other = next(iter(self._benches.values()))
            store = store_beside(
                other.train.store, prepared.manifest.root, self._deadline, augment=augment
            )
            images = image_set(prepared.roles.train, store, {})
            self._benches[augment] = replace(other, train=images)
        return self._benches[augment]


def _shortened(prepared: Prepared, share: float) -> Prepared:
    """Return a job as it is tried: that share of its recipe's epochs, and few random views.

    At least one epoch where there are any. Views are what takes longest with many pictures.
    """
    resolved = prepared.resolved
    train, options = resolved.train, dict(resolved.options)
    epochs = math.ceil(train.epochs * share)
    train = replace(train, epochs=epochs, views=min(train.views or VIEWS, VIEWS))
    if isinstance(views := options.get("views"), int):
        options["views"] = min(views, VIEWS)
    return replace(prepared, resolved=replace(resolved, train=train, options=options))


def _score_stage(candidate: Candidate, fold: Fold) -> Stage:
    """Return the stage of the held-out images' score; as a run's own."""
    chain = fold.prepared.chain
    inputs = {
        "test": fold.content,
        "backbone": fold.prepared.inputs["backbone"],
        "learner": chain.scored_learner.key,
    }
    variant = Variant.own()
    if chain.generator is not None and chain.sampler is not None:
        variant = Variant.generated(candidate.generator)
        inputs |= {"generator": chain.generator.key, "sampler": chain.sampler.key}
    how = variant.model_dump(mode="json", exclude={"generator", "judged"})
    config = {"precision": fold.prepared.resolved.precision}
    return score_stage(variant=how, config=config, inputs=inputs)
