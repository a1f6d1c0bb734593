"""What diffusion adds to each learner on test sets that differ from its training pictures.

All comparisons are of the same seeds and the same pictures: a target shows one picture in another
way, so a resample draws one set of pictures for all targets, and one of seeds for all learners.

Legend: S seed, N picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from diffuprompt.jobs import NO_GENERATOR
from diffuprompt.record import Record, Variant
from diffuprompt.report import OWN, Interval, Section, is_attempt, joint_bootstrap, precision_of
from diffuprompt.studies.plug_in.design import DECIDING, DIFFUSION, LEARNERS
from diffuprompt.studies.shift.design import MULTI_MODAL, TEXTUAL, World, world_of

RESAMPLES = 2000  # of all targets at once, each with thousands of pictures
PART = "all"  # of the classes
GENERATED = Variant.generated(DIFFUSION)
NO_RIVALS = (NO_GENERATOR, DIFFUSION)
CONTROLS = tuple(Variant.of_control(control, DIFFUSION) for control in DECIDING)

Hits = Mapping[str, NDArray[np.bool_]]  # test set -> (S, N)
Pairs = list[tuple[Hits, Hits]]
Tries = Sequence[tuple["Robustness", "Robustness"]]  # learners, each with itself as it is


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """One learner with all its ways of making prompts, over the seeds of its records.

    ``setting`` is what is special about an ablation, such as an attempt to make it robust, or the
    other generator that stands in diffusion's place. ``hits`` are by variant and test set; a
    control that was not scored everywhere is not there.
    """

    learner: str
    seeds: tuple[int, ...]
    setting: str
    hits: Mapping[Variant, Hits]

    def accuracy(
        self, variant: Variant, tests: Sequence[str], seeds: Sequence[int] = ()
    ) -> float | None:
        """Return the mean over test sets, of all or some seeds, of the accuracy in per cent.

        None where not all is scored.
        """
        if variant not in self.hits or not set(tests) <= self.hits[variant].keys():
            return None
        index = [self.seeds.index(seed) for seed in seeds or self.seeds]
        return fmean(100 * float(self.hits[variant][test][index].mean()) for test in tests)


@dataclass(frozen=True, kw_only=True)
class ShiftGains:
    """All learners of one world, in the order of the study, and the targets that all scored.

    ``ablations`` are the same learners under other settings, and in no mean. So are attempts that
    were scored of the same run, as a control that no study asks for: under its name they stand
    with what was scored in the place of the generated prompts. ``rivals`` are the same learners
    with another generator.
    """

    world: World
    targets: tuple[str, ...]
    each: tuple[Robustness, ...]
    ablations: tuple[Robustness, ...] = ()
    rivals: tuple[Robustness, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that all learners have."""
        return tuple(sorted(set.intersection(*(set(one.seeds) for one in self.each))))

    def over(self, one: Robustness, other: Variant) -> Interval | None:
        """Return what diffusion adds to a learner over ``other``, mean over targets, in points."""
        if other not in one.hits:
            return None
        return _interval(_pairs(one, one, other, self.targets, one.seeds))

    def mean_over(self, other: Variant, targets: Sequence[str] = ()) -> Interval | None:
        """Return the same, averaged over learners, on the seeds that all have."""
        if not self.seeds or any(other not in one.hits for one in self.each):
            return None
        tests = targets or self.targets
        return _interval(
            [p for one in self.each for p in _pairs(one, one, other, tests, self.seeds)]
        )

    @property
    def attempts(self) -> Mapping[str, Tries]:
        """By setting, learners under it, each with the same learner as it is."""
        return self._beside_plain(self.ablations)

    @property
    def generators(self) -> Mapping[str, Tries]:
        """By other generator, learners with it, each with the same learner with diffusion."""
        return self._beside_plain(self.rivals)

    def _beside_plain(self, others: Sequence[Robustness]) -> Mapping[str, Tries]:
        plain = {one.learner: one for one in self.each}
        out: dict[str, list[tuple[Robustness, Robustness]]] = {}
        for one in others:
            if one.learner in plain:
                out.setdefault(one.setting, []).append((one, plain[one.learner]))
        return {setting: tuple(pairs) for setting, pairs in out.items()}

    def over_plain(self, attempts: Tries, other: Variant) -> Interval | None:
        """Return what diffusion gains by an attempt over ``other`` without it, mean over targets.

        Averaged over learners, in points, on the seeds that all have.
        """
        seeds = common_seeds(attempts)
        if not seeds or any(other not in plain.hits for _, plain in attempts):
            return None
        return _interval(
            [
                p
                for tried, plain in attempts
                for p in _pairs(tried, plain, other, self.targets, seeds)
            ]
        )

    @property
    def sorts(self) -> tuple[list[Robustness], list[Robustness]]:
        """The multi-modal learners, and the textual ones."""
        multi, text = (
            [one for one in self.each if one.learner in names] for names in (MULTI_MODAL, TEXTUAL)
        )
        return multi, text

    def multi_modal_minus_textual(self, targets: Sequence[str]) -> Interval | None:
        """Return by how much multi-modal learners gain more than textual ones, over own prompts.

        None without a target, a seed that all have, or learners of both sorts.
        """
        multi, text = self.sorts
        if not (multi and text and targets and self.seeds):
            return None
        # a mean over pairs, in which both sorts weigh the same and the second one counts negative
        more, less = (
            [p for one in sort for p in _pairs(one, one, OWN, targets, self.seeds)]
            for sort in (multi, text)
        )
        more, less = more * len(text), less * len(multi)
        half = _interval([*more, *((own, made) for made, own in less)])
        return Interval(estimate=2 * half.estimate, low=2 * half.low, high=2 * half.high)

    @property
    def above(self) -> tuple[str, ...]:
        """Learners whose intervals over regression and over shuffled are both above zero."""
        found = []
        for one in self.each:
            over = [self.over(one, control) for control in CONTROLS]
            if all(interval is not None and interval.low > 0 for interval in over):
                found.append(one.learner)
        return tuple(found)


def common_seeds(attempts: Tries) -> tuple[int, ...]:
    """Return the seeds that all of some attempts have, and the learners as they are."""
    return tuple(sorted(set.intersection(*(set(one.seeds) for both in attempts for one in both))))


def find_shift_gains(section: Section) -> ShiftGains | None:
    """Return the gains of a section; None where no learner has diffusion scored under shift."""
    world = world_of(section.setting.dataset)
    if world is None:
        return None
    jobs: dict[tuple[str, str], list[Record]] = {}
    for record in (source.record for source in section.sources):
        if record.job.generator == DIFFUSION and any(map(world.is_target, _both(record))):
            jobs.setdefault((record.job.setting, record.job.learner), []).append(record)
    if not any(not setting for setting, _ in jobs):
        return None
    every = [_both(record) for records in jobs.values() for record in records]
    targets = tuple(sorted(filter(world.is_target, set.intersection(*every))))
    if not targets:
        return None
    found = [
        _robustness(sorted(jobs[job], key=lambda record: record.job.seed), targets)
        for job in sorted(jobs, key=lambda job: (job[0], _rank(job[1])))
    ]
    each = tuple(one for one in found if not one.setting)
    plain = [jobs["", one.learner] for one in each]
    other = [one for of in plain for one in _other_controls(of, targets)]
    ablations = (*(one for one in found if one.setting), *other)
    rivals = tuple(
        one for main in each for one in _rivals(section, jobs["", main.learner][0], targets)
    )
    return ShiftGains(world=world, targets=targets, each=each, ablations=ablations, rivals=rivals)


def _rivals(section: Section, diffusion: Record, targets: Sequence[str]) -> list[Robustness]:
    """Return the learner of a record with other generators, where these scored the targets.

    Only jobs of the same precision are compared.
    """
    found: dict[str, list[Record]] = {}
    for record in (source.record for source in section.sources):
        job, variant = record.job, Variant.generated(record.job.generator)
        is_other = job.learner == diffusion.job.learner and job.generator not in NO_RIVALS
        is_like = not job.setting and precision_of(record) == precision_of(diffusion)
        if is_other and is_like and set(targets) <= _scored(record, variant) & _scored(record, OWN):
            found.setdefault(job.generator, []).append(record)
    return [
        _robustness(
            sorted(of, key=lambda record: record.job.seed),
            targets,
            generated=Variant.generated(generator),
        )
        for generator, of in found.items()
    ]


def _other_controls(records: Sequence[Record], targets: Sequence[str]) -> list[Robustness]:
    """Return controls that no study asks for, each in the place of the generated prompts."""
    scored = [score.variant for record in records for score in record.scores]
    out = []
    for variant in dict.fromkeys(scored):
        if not is_attempt(variant):
            continue
        of = [record for record in records if set(targets) <= _scored(record, variant)]
        if of:
            of.sort(key=lambda record: record.job.seed)
            out.append(_robustness(of, targets, generated=variant))
    return out


def _both(record: Record) -> set[str]:
    """Return the test sets on which diffusion and the learner's own prompts were scored."""
    return _scored(record, GENERATED) & _scored(record, OWN)


def _rank(learner: str) -> tuple[int, str]:
    return (LEARNERS.index(learner) if learner in LEARNERS else len(LEARNERS), learner)


def _scored(record: Record, variant: Variant) -> set[str]:
    """Return the test sets on which a variant was scored.

    A made target is known by its name, which any folder may bear: one that has not as many pictures
    as the source is left out, since all targets must show the same ones.
    """
    world, source = world_of(record.job.dataset), record.score(OWN, PART)
    tests = {s.dataset: s.total for s in record.scores if (s.variant, s.subset) == (variant, PART)}
    if world is None or not world.made:
        return set(tests)
    total = 0 if source is None else source.total
    return {test for test, many in tests.items() if not world.is_target(test) or many == total}


def _robustness(
    records: Sequence[Record], targets: Sequence[str], generated: Variant = GENERATED
) -> Robustness:
    """Return one learner; ``generated`` is what stands for its generated prompts."""
    hits, job = {}, records[0].job
    for variant in (OWN, GENERATED, *CONTROLS):
        of = generated if variant == GENERATED else variant
        tests = set.intersection(*(_scored(record, of) for record in records))
        if set(targets) <= tests:
            hits[variant] = {test: _hits(records, of, test) for test in sorted(tests)}
    seeds = tuple(record.job.seed for record in records)
    setting = job.setting or generated.control
    if not setting and generated != GENERATED:
        setting = generated.generator
    return Robustness(learner=job.learner, seeds=seeds, setting=setting, hits=hits)


def _hits(records: Sequence[Record], variant: Variant, test: str) -> NDArray[np.bool_]:
    rows = []
    for record in records:
        score = record.score(variant, PART, test)
        assert score is not None, "what was scored was looked up before"
        rows.append(score.hit_list())
    return np.array(rows, dtype=np.bool_)


def _pairs(
    one: Robustness,
    two: Robustness,
    other: Variant,
    targets: Sequence[str],
    seeds: Sequence[int],
) -> Pairs:
    """Return diffusion of ``one`` and ``other`` of ``two`` on each target, under one name.

    The pictures are the same.
    """
    first, second = ([of.seeds.index(seed) for seed in seeds] for of in (one, two))
    return [
        ({PART: one.hits[GENERATED][test][first]}, {PART: two.hits[other][test][second]})
        for test in targets
    ]


def _interval(pairs: Pairs) -> Interval:
    return joint_bootstrap(pairs, resamples=RESAMPLES)[PART]
