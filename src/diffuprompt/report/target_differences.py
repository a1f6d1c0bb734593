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
from diffuprompt.report.rows import Row, TestSet, is_joint, precision_of
from diffuprompt.report.severities import corrupted
from diffuprompt.report.stats import AVERAGE, Bools, Interval, joint_bootstrap
from diffuprompt.report.tables import Table

RESAMPLES = 2_000  # of all targets at once, each with thousands of pictures
CAPTION = (
    "Paired differences in points: of the average over the other test sets that both have, with "
    f"its 95 % interval from {RESAMPLES:,} bootstrap resamples of seeds and of images, drawn alike "
    "for test sets of one size, which may be of the same pictures; and on how many test sets the "
    "first is ahead, level and behind."
)


@dataclass(frozen=True, kw_only=True)
class TargetDifference:
    """Row ``a`` minus row ``b`` over some test sets of one sort and the seeds that both have."""

    a: Row
    b: Row
    sort: str  # part of the classes, and whether the pictures are corrupted
    average: Interval
    each: tuple[float, ...]  # one difference a target, in points


def target_differences(section: Section) -> tuple[TargetDifference, ...]:
    """Compare every generated row with own prompts on the other test sets that both have.

    Only what is alike is averaged: the same part of the classes, corrupted pictures apart.
    """
    out = []
    for sort, sets in _sorts(section).items():
        for a in section.rows:
            if a.variant == OWN or is_control(a.variant):
                continue
            for b in (row for row in rivals(a, section.rows) if row.variant == OWN):
                seeds = sorted(set(a.seeds) & set(b.seeds))
                left, right = (_hits(section, row, sets, seeds) for row in (a, b))
                both = [name for name in left if name in right]
                if len(both) > 1:
                    pair = [({n: left[n] for n in both}, {n: right[n] for n in both})]
                    found = joint_bootstrap(pair, resamples=RESAMPLES, average=True)
                    each = tuple(i.estimate for name, i in found.items() if name != AVERAGE)
                    one = TargetDifference(a=a, b=b, sort=sort, average=found[AVERAGE], each=each)
                    out.append(one)
    return tuple(out)


def _sorts(section: Section) -> dict[str, list[TestSet]]:
    sets = sorted({test_set for row in section.rows for test_set in row.elsewhere})
    harmed = corrupted(sets)
    out: dict[str, list[TestSet]] = {}
    for test_set in sets:
        _, part = test_set
        out.setdefault(f"{part}, corrupted" if test_set in harmed else part, []).append(test_set)
    return out


def _hits(
    section: Section, row: Row, sets: Sequence[TestSet], seeds: Sequence[int]
) -> dict[str, Bools]:
    """Return ``(S, N)`` hits of each test set that every seed has."""
    by_seed = {seed: _hits_of(section, row, seed) for seed in seeds}
    return {
        f"{name} {part}": np.array(
            [found[name, part] for found in by_seed.values()], dtype=np.bool_
        )
        for name, part in sets
        if by_seed and all((name, part) in found for found in by_seed.values())
    }


def _hits_of(section: Section, row: Row, seed: int) -> dict[TestSet, list[bool]]:
    """Return the hits of one seed.

    Own prompts are of the row's job, and of others with the same learner: those that were trained
    alike and answer alike wherever both were scored, which joint training does not leave so.
    """
    records = [
        source.record
        for source in section.sources
        if (source.record.job.learner, source.record.job.setting, source.record.job.seed)
        == (row.learner, row.setting, seed)
    ]
    records.sort(key=lambda record: record.job.generator != row.generator)
    out: dict[TestSet, list[bool]] = {}
    for record in records:
        found = {
            (score.dataset, score.subset): score.hit_list()
            for score in record.scores
            if score.variant == row.variant
        }
        is_own = record.job.generator == row.generator
        is_like = (precision_of(record), is_joint(record)) == (row.precision, row.is_joint)
        agrees = all(out[place] == hits for place, hits in found.items() if place in out)
        if is_own or (is_like and not row.is_joint and agrees):
            out = {**found, **out}
    return out


def target_part(found: Sequence[TargetDifference]) -> SectionPart | None:
    """Return the table of some differences; None for none."""
    if not found:
        return None
    rows = []
    several = len({one.sort for one in found}) > 1
    for one in found:
        ahead, behind = sum(d > 0 for d in one.each), sum(d < 0 for d in one.each)
        signs = f"{ahead} / {len(one.each) - ahead - behind} / {behind}"
        sort = (one.sort,) if several else ()
        rows.append((one.a.name, "own prompts", *sort, difference(one.average), signs))
    last = ("Average of test sets", "Test sets + / = / −")
    columns = ("Method", "minus", *(("Of",) if several else ()), *last)
    table = Table(columns=columns, rows=tuple(rows), caption=CAPTION)
    return SectionPart(heading="Paired differences on other test sets", table=table)


def target_sentence(found: Sequence[TargetDifference]) -> tuple[str, ...]:
    """Say for how many methods generated prompts are above or below own ones on other test sets."""
    out = []
    sorts = dict.fromkeys(one.sort for one in found)
    for sort in sorts:
        mine = [one for one in found if one.sort == sort]
        above = [one.a.name for one in mine if one.average.low > 0]
        below = [one.a.name for one in mine if one.average.high < 0]
        counts = sorted({len(one.each) for one in mine})
        over = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        of = f" ({sort})" if len(sorts) > 1 else ""
        out.append(
            f"Generated minus own prompts, average over {over} other test sets{of}: the "
            f"interval is above zero for {_named(above, len(mine))}, below for "
            f"{_named(below, len(mine))}."
        )
    return tuple(out)


def _named(names: Sequence[str], count: int) -> str:
    listed = f" ({', '.join(names)})" if names else ""
    return f"{len(names)} of {count}{listed}"
