"""Group records into sections (one main table each) of rows (one method each, all its seeds)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from diffuprompt.record import Record, Variant
from diffuprompt.report.consistency import check_consistent
from diffuprompt.report.load import Source
from diffuprompt.report.names import METRICS, OWN, needs_images, row_order
from diffuprompt.report.rows import Row, TestSet, make_row


@dataclass(frozen=True, kw_only=True, order=True)
class Setting:
    """What the rows of one table share."""

    dataset: str
    backbone: str
    protocol: str
    shots: int

    @property
    def title(self) -> str:
        """One line for headings."""
        shots = f", {self.shots} shots" if self.shots else ""
        return f"{self.dataset} · {self.backbone} · {self.protocol}{shots}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """All rows of one setting, in the order of the table, and the records behind them.

    ``sweeps`` are rows of generators that were sampled in another way than configured,
    ``ablations`` rows of jobs with another configuration, their controls among them, and
    ``ablated_sweeps`` the sweeps of these; none is a row of the main tables. Where there is nothing
    but ablations, they are the rows.
    """

    setting: Setting
    rows: tuple[Row, ...]
    sources: tuple[Source, ...]
    sweeps: tuple[Row, ...] = ()
    ablations: tuple[Row, ...] = ()
    ablated_sweeps: tuple[Row, ...] = ()

    @property
    def main(self) -> tuple[Row, ...]:
        """The rows that are no ablations: those a study may speak of."""
        return tuple(row for row in self.rows if not row.setting)

    @property
    def judged(self) -> tuple[Row, ...]:
        """The sweeps whose names were judged beside the logits."""
        return tuple(row for row in self.sweeps if row.variant.judged is not None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The measures that at least one trained method (or, without any, any row) has."""
        found = [measure for row in self._trained for measure in row.per_seed]
        return tuple(m for m in dict.fromkeys([*METRICS, *found]) if m in found)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds of the trained methods (of all rows when nothing was trained)."""
        return tuple(sorted({seed for row in self._trained for seed in row.seeds}))

    @property
    def _trained(self) -> Sequence[Row]:
        return [row for row in self.rows if needs_images(row.learner)] or self.rows


def build_sections(sources: Sequence[Source]) -> tuple[Section, ...]:
    """Group records by data set, backbone, protocol and shots; ablations stay beside rows.

    Records of learners that need no images join every section of their data set, backbone and
    protocol, since they depend neither on shots nor on training, but on which classes and images
    are scored; those of the same shots are preferred. What joins nothing makes a section of its
    own.

    Raises `DataError` naming the files when records do not fit together, see `report.consistency`.
    """
    trained: dict[Setting, list[Source]] = defaultdict(list)
    untrained: dict[Setting, list[Source]] = defaultdict(list)
    for source in sources:
        needed = needs_images(source.record.job.learner)
        (trained if needed else untrained)[_setting(source.record)].append(source)
    used: set[Setting] = set()
    sections = []
    for setting in sorted(trained):
        chosen = _nearest(setting, sorted(untrained))
        if chosen is not None:
            used.add(chosen)
        joined = (untrained[chosen] if chosen else []) + trained[setting]
        sections.append(_section(setting, joined))
    alone = [_section(s, untrained[s]) for s in sorted(untrained) if s not in used]
    return tuple(sorted([*sections, *alone], key=lambda section: section.setting))


def _setting(record: Record) -> Setting:
    job = record.job
    return Setting(
        dataset=job.dataset,
        backbone=job.backbone,
        protocol=job.protocol,
        shots=job.shots,
    )


def _nearest(setting: Setting, known: Sequence[Setting]) -> Setting | None:
    """Return the setting that differs in nothing but the shots, and rather not in them."""
    near = [s for s in known if replace(s, shots=setting.shots) == setting]
    near.sort(key=lambda s: s.shots != setting.shots)
    return near[0] if near else None


class _Key(NamedTuple):
    learner: str
    generator: str
    variant: Variant
    setting: str


def _section(setting: Setting, sources: Sequence[Source]) -> Section:
    check_consistent(sources)
    grouped: dict[_Key, list[Record]] = defaultdict(list)
    for record in (source.record for source in sources):
        job = record.job
        for variant in dict.fromkeys(score.variant for score in record.scores):
            grouped[_Key(job.learner, job.generator, variant, job.setting)].append(record)
    order = {key: row_order(key.learner, key.generator, key.variant) for key in grouped}
    keys = sorted(grouped, key=lambda k: (order[k], k.generator != "none", k.setting))
    rows = {key: make_row(*key, grouped[key]) for key in keys}
    main = [r for k, r in rows.items() if not k.setting and not k.variant.is_resampled]
    ablations = tuple(r for k, r in rows.items() if k.setting and not k.variant.is_resampled)
    return Section(
        setting=setting,
        rows=_merge_own(main) if main else ablations,
        sources=tuple(sources),
        sweeps=tuple(r for k, r in rows.items() if not k.setting and k.variant.is_resampled),
        ablations=ablations if main else (),
        ablated_sweeps=tuple(r for k, r in rows.items() if k.setting and k.variant.is_resampled),
    )


def _merge_own(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Show a learner's own prompts once when the jobs with a generator repeat the same numbers."""
    out: list[Row] = []
    for row in rows:
        own = [i for i, r in enumerate(out) if (r.learner, r.variant) == (row.learner, OWN)]
        if row.variant != OWN or not own:
            out.append(row)
        elif _agree(out[own[0]], row):
            first = out[own[0]]
            more = max(first, row, key=lambda r: len(r.seeds))
            out[own[0]] = replace(more, elsewhere=_both_elsewhere(row, first))
        else:
            out.append(replace(row, name=f"{row.name} (in the {row.generator} job)"))
    return tuple(out)


def _both_elsewhere(a: Row, b: Row) -> dict[TestSet, dict[int, float]]:
    sets = dict.fromkeys([*a.elsewhere, *b.elsewhere])
    return {s: {**a.elsewhere.get(s, {}), **b.elsewhere.get(s, {})} for s in sets}


def _agree(a: Row, b: Row) -> bool:
    """Whether two rows are of the same learner: all that the seeds of both say is equal."""
    shared = sorted(set(a.seeds) & set(b.seeds))
    if not shared or (a.precision, a.is_joint) != (b.precision, b.is_joint):
        return False
    a, b = a.only(shared), b.only(shared)
    if a.hits.keys() != b.hits.keys() or a.values.keys() != b.values.keys():
        return False
    same_hits = all(np.array_equal(a.hits[part], b.hits[part]) for part in a.hits)
    return same_hits and all(np.array_equal(a.values[m], b.values[m]) for m in a.values)
