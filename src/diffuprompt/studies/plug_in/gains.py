"""What diffusion adds to each learner of a section, and to all of them on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffuprompt.record import Variant
from diffuprompt.report import (
    OWN,
    RESAMPLES,
    Comparison,
    Interval,
    Row,
    Section,
    compare,
    difference,
    joint_bootstrap,
    learner_name,
    metric_name,
    plain,
    verdict,
)
from diffuprompt.studies.plug_in.design import DECIDING, DIFFUSION

GENERATED = Variant.generated(DIFFUSION)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One learner with and without diffusion, on the same seeds and images.

    Both rows and all comparisons hold the same seeds, so an accuracy beside a gain is its part.
    """

    own: Row
    generated: Row
    over: dict[Variant, Comparison]  # own prompts and the deciding controls that were scored

    @property
    def learner(self) -> str:
        """The learner's key."""
        return self.own.learner

    @property
    def h(self) -> Interval:
        """The gain of H over the learner's own prompts."""
        return self.over[OWN].intervals["h"]

    def over_control(self, control: str) -> Comparison | None:
        """Return the comparison with a control; None where that was not scored."""
        return self.over.get(Variant.of_control(control, DIFFUSION))

    def above(self, control: str) -> bool | None:
        """Whether the whole interval of H against a control is above zero; None: not scored."""
        comparison = self.over_control(control)
        return None if comparison is None else comparison.intervals["h"].low > 0

    @property
    def is_above_controls(self) -> bool:
        """Whether diffusion is above the regression *and* the shuffled condition."""
        return all(self.above(control) is True for control in DECIDING)


@dataclass(frozen=True, kw_only=True)
class Gains:
    """All learners of a section that diffusion was plugged into."""

    each: tuple[Gain, ...]
    mean: Interval  # of the learners' gains of H, over the seeds that all have
    seeds: tuple[int, ...]

    @property
    def above(self) -> tuple[str, ...]:
        """Learners whose gain is above both deciding controls."""
        return tuple(gain.learner for gain in self.each if gain.is_above_controls)


def find_gains(section: Section, comparisons: Sequence[Comparison]) -> Gains | None:
    """Return the gains, or None where no learner has base and new scores of diffusion.

    The mean over learners is bootstrapped jointly: a resample draws the same seeds and the same
    images for all learners, since all of them scored the same images.
    """
    gains = []
    for row in section.main:
        if row.variant != GENERATED:
            continue
        mine = [c for c in comparisons if c.a is row and decides(c)]
        over = {c.b.variant: c for c in mine if "h" in c.intervals}
        if OWN in over:
            gains.append(_gain(row, over))
    if not gains:
        return None
    seeds = sorted(set.intersection(*(set(gain.over[OWN].seeds) for gain in gains)))
    if not seeds:
        return None
    halves = ("base", "new")
    pairs = [(g.generated.select(seeds, halves), g.own.select(seeds, halves)) for g in gains]
    mean = joint_bootstrap(pairs, resamples=RESAMPLES)["h"]
    return Gains(each=tuple(gains), mean=mean, seeds=tuple(seeds))


def _gain(row: Row, over: dict[Variant, Comparison]) -> Gain:
    """Restrict all rows to the seeds that all have; a control without any of them is left out."""
    seeds = over[OWN].seeds
    for comparison in over.values():
        seeds = tuple(s for s in seeds if s in comparison.seeds) or seeds
    generated = row.only(seeds)
    shared: dict[Variant, Comparison] = {}
    for variant, old in over.items():
        if set(seeds) <= set(old.seeds):
            same = (old.a.seeds, old.b.seeds) == (seeds, seeds)
            new = old if same else compare(generated, old.b.only(seeds))
            if new is not None:
                shared[variant] = new
    return Gain(own=shared[OWN].b, generated=generated, over=shared)


def decides(comparison: Comparison) -> bool:
    """Whether it is with own prompts or with a control above which a gain counts."""
    other = comparison.b.variant
    return other == OWN or other.control in DECIDING


def counted_verdicts(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """Say for how many learners diffusion is above each, where there is no H to average.

    One learner's comparisons are said one by one.
    """
    found = [c for c in comparisons if decides(c) and c.a.variant == GENERATED]
    learners = list(dict.fromkeys(c.a.learner for c in found))
    if len(learners) < 2:
        return tuple(verdict(comparison) for comparison in found)
    measure = next(iter(found[0].intervals))
    if not all(measure in c.intervals for c in found):
        return tuple(verdict(comparison) for comparison in found)
    above = []
    for against in dict.fromkeys(c.against for c in found):
        own = [c.intervals[measure] for c in found if c.against == against]
        count = sum(interval.low > 0 for interval in own)
        above.append(f"{against} for {count} of {len(own)}")
    return (
        f"In {metric_name(measure).lower()} accuracy diffusion is above "
        f"{', '.join(above)} learners, intervals above zero.",
    )


def gains_verdicts(gains: Gains) -> tuple[str, ...]:
    """Say what the gains say, in two sentences."""
    count, names = len(gains.each), ", ".join(learner_name(name) for name in gains.above)
    change = "raises" if gains.mean.low > 0 else "lowers" if gains.mean.high < 0 else "changes"
    seeds = ", ".join(map(str, gains.seeds))
    return (
        f"Diffusion {change} H by {plain(difference(gains.mean))} points on average over "
        f"{count} learners, seeds {seeds}.",
        "It is above the regression and above the shuffled condition, both intervals above zero, "
        f"for {len(gains.above)} of {count} learners{f': {names}' if names else ''}.",
    )
