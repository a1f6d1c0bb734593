"""The plug-in study of one section: what diffusion adds to each learner, and to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffuprompt.report.aggregate import Row, Section
from diffuprompt.report.compare import RESAMPLES, Comparison, compare, difference
from diffuprompt.report.names import OWN, learner_name
from diffuprompt.report.stats import Interval, joint_bootstrap
from diffuprompt.report.tables import Table, plain

DIFFUSION = "diffusion"
DECIDING = ("regression", "shuffled")  # the controls above which a gain counts


@dataclass(frozen=True, kw_only=True)
class Part:
    """One headed piece of a section: a table, and maybe a figure drawn as SVG by ``figure``."""

    heading: str
    table: Table
    figure: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure to be drawn: its file's name without suffix, what it shows, and the numbers.

    ``lines`` map a name to ``(x, mean, std)`` points of accuracy, ``costs`` to ``(x, cost)``.
    """

    name: str
    alt: str
    x: str
    cost: str
    log_x: bool
    lines: dict[str, tuple[tuple[float, float, float], ...]]
    costs: dict[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One learner with and without diffusion, on the same seeds and images.

    Both rows and all comparisons hold the same seeds, so an accuracy beside a gain is its part.
    """

    own: Row
    generated: Row
    over: dict[str, Comparison]  # "own", "regression", "shuffled" where they were scored

    @property
    def learner(self) -> str:
        """The learner's key."""
        return self.own.learner

    @property
    def h(self) -> Interval:
        """The gain of H over the learner's own prompts."""
        return self.over[OWN].intervals["h"]

    def above(self, control: str) -> bool | None:
        """Whether the whole interval of H against a control is above zero; None: not scored."""
        comparison = self.over.get(control)
        return None if comparison is None else comparison.intervals["h"].low > 0

    @property
    def is_above_controls(self) -> bool:
        """Whether diffusion is above the regression *and* the shuffled condition."""
        return all(self.above(control) is True for control in DECIDING)


@dataclass(frozen=True, kw_only=True)
class Study:
    """All learners of a section that diffusion was plugged into."""

    gains: tuple[Gain, ...]
    mean: Interval  # of the learners' gains of H, over the seeds that all have
    seeds: tuple[int, ...]

    @property
    def above(self) -> tuple[str, ...]:
        """Learners whose gain is above both deciding controls."""
        return tuple(gain.learner for gain in self.gains if gain.is_above_controls)


def plugin_study(section: Section, comparisons: Sequence[Comparison]) -> Study | None:
    """Return the study, or None where no learner has base and new scores of diffusion.

    The mean over learners is bootstrapped jointly: a resample draws the same seeds and the same
    images for all learners, since all of them scored the same images.
    """
    gains = []
    for row in section.rows:
        if row.variant != DIFFUSION:
            continue
        mine = [c for c in comparisons if c.a is row and c.b.variant in (OWN, *DECIDING)]
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
    return Study(gains=tuple(gains), mean=mean, seeds=tuple(seeds))


def _gain(row: Row, over: dict[str, Comparison]) -> Gain:
    """Restrict all rows to the seeds that all have; a control without any of them is left out."""
    seeds = over[OWN].seeds
    for comparison in over.values():
        seeds = tuple(s for s in seeds if s in comparison.seeds) or seeds
    generated = row.only(seeds)
    shared: dict[str, Comparison] = {}
    for name, old in over.items():
        if set(seeds) <= set(old.seeds):
            same = (old.a.seeds, old.b.seeds) == (seeds, seeds)
            new = old if same else compare(generated, old.b.only(seeds))
            if new is not None:
                shared[name] = new
    return Gain(own=shared[OWN].b, generated=generated, over=shared)


def study_verdicts(study: Study) -> tuple[str, ...]:
    """Say what the study says, in two sentences."""
    count, names = len(study.gains), ", ".join(learner_name(name) for name in study.above)
    change = "raises" if study.mean.low > 0 else "lowers" if study.mean.high < 0 else "changes"
    seeds = ", ".join(map(str, study.seeds))
    return (
        f"Diffusion {change} H by {plain(difference(study.mean))} points on average over "
        f"{count} learners, seeds {seeds}.",
        "It is above the regression and above the shuffled condition, both intervals above zero, "
        f"for {len(study.above)} of {count} learners{f': {names}' if names else ''}.",
    )
