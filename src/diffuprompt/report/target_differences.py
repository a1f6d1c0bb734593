"""Paired differences on other test sets: the average over targets with its interval.

Of generated prompts and the learner's own; what controls have stands in the tables of means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffuprompt.report.aggregate import Section
from diffuprompt.report.compare import difference, rivals
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.names import OWN, is_control
from diffuprompt.report.rows import Row, TestSet
from diffuprompt.report.stats import AVERAGE, Bools, Interval, joint_bootstrap
from diffuprompt.report.tables import Table

RESAMPLES = 2_000  # of all targets at once, each with thousands of pictures
CAPTION = (
    "Paired differences in points: of the average over {count} other test sets, with its 95 % "
    f"interval from {RESAMPLES:,} bootstrap resamples of seeds and of images, drawn alike for test "
    "sets of one size, which may be of the same pictures; and on how many test sets the first is "
    "ahead, level and behind."
)


@dataclass(frozen=True, kw_only=True)
class TargetDifference:
    """Row ``a`` minus row ``b`` over all targets and the seeds that both have."""

    a: Row
    b: Row
    average: Interval
    each: tuple[float, ...]  # one difference a target, in points


def target_differences(section: Section) -> tuple[TargetDifference, ...]:
    """Compare every generated row with own prompts on all other test sets, where both have all."""
    sets = sorted({test_set for row in section.rows for test_set in row.elsewhere})
    out = []
    for a in section.rows:
        if a.variant == OWN or is_control(a.variant) or len(sets) < 2:
            continue
        for b in (row for row in rivals(a, section.rows) if row.variant == OWN):
            seeds = sorted(set(a.seeds) & set(b.seeds))
            left, right = (_hits(section, row, sets, seeds) for row in (a, b))
            if left and right:
                found = joint_bootstrap([(left, right)], resamples=RESAMPLES, average=True)
                each = tuple(i.estimate for name, i in found.items() if name != AVERAGE)
                out.append(TargetDifference(a=a, b=b, average=found[AVERAGE], each=each))
    return tuple(out)


def _hits(
    section: Section, row: Row, sets: Sequence[TestSet], seeds: Sequence[int]
) -> dict[str, Bools]:
    """Return ``(S, N)`` hits of each test set; nothing unless every seed has all of them."""
    found: dict[tuple[TestSet, int], list[bool]] = {}
    for source in section.sources:
        job = source.record.job
        if (job.learner, job.setting) != (row.learner, row.setting):
            continue
        for score in source.record.scores:
            place = (score.dataset, score.subset), job.seed
            if score.variant == row.variant and (place not in found or _is_of(job.generator, row)):
                found[place] = score.hit_list()
    wanted = [(test_set, seed) for test_set in sets for seed in seeds]
    if not wanted or not all(place in found for place in wanted):
        return {}
    return {
        f"{name} {part}": np.array([found[(name, part), seed] for seed in seeds], dtype=np.bool_)
        for name, part in sets
    }


def _is_of(generator: str, row: Row) -> bool:
    return generator == row.generator


def target_part(found: Sequence[TargetDifference]) -> SectionPart | None:
    """Return the table of some differences; None for none."""
    if not found:
        return None
    rows = []
    for one in found:
        ahead, behind = sum(d > 0 for d in one.each), sum(d < 0 for d in one.each)
        signs = f"{ahead} / {len(one.each) - ahead - behind} / {behind}"
        rows.append((one.a.name, "own prompts", difference(one.average), signs))
    columns = ("Method", "minus", "Average of test sets", "Test sets + / = / −")
    caption = CAPTION.format(count=len(found[0].each))
    table = Table(columns=columns, rows=tuple(rows), caption=caption)
    return SectionPart(heading="Paired differences on other test sets", table=table)


def target_sentence(found: Sequence[TargetDifference]) -> tuple[str, ...]:
    """Say for how many methods generated prompts are above or below own ones on other test sets."""
    if not found:
        return ()
    above = [one.a.name for one in found if one.average.low > 0]
    below = [one.a.name for one in found if one.average.high < 0]
    return (
        f"Generated minus own prompts, average over {len(found[0].each)} other test sets: the "
        f"interval is above zero for {_named(above, len(found))}, below for "
        f"{_named(below, len(found))}.",
    )


def _named(names: Sequence[str], count: int) -> str:
    listed = f" ({', '.join(names)})" if names else ""
    return f"{len(names)} of {count}{listed}"
