"""Group records into sections (one table each) and rows (one method each, all its seeds).

Legend: S seed, N test image.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from diffuprompt.report.alike import check_alike
from diffuprompt.report.costs import Costs, mean_costs, mean_known
from diffuprompt.report.load import Source
from diffuprompt.report.names import METRICS, OWN, is_swept, row_name, row_order
from diffuprompt.report.stats import Bools, Floats, add_harmonic, harmonic_mean

logger = logging.getLogger(__name__)

ZERO_SHOT = "zero-shot"


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
class Row:
    """One way of making prompts with all its seeds; ``hits`` maps a subset to ``(S, N)``.

    ``setting`` names an ablation, and ``costs`` are those of `report.costs`. ``is_joint`` says that
    training the generator moved the learner too, so that the job's own prompts are no plain ones.
    ``draw_spread`` is how far the generator's draws for one image lie apart, as a share of how far
    V* is from V0; None without a generator.
    """

    learner: str
    generator: str
    variant: str
    name: str
    seeds: tuple[int, ...]
    hits: Mapping[str, Bools]
    setting: str = ""
    precision: str = "fp32"
    is_joint: bool = False
    draw_spread: float | None = None
    costs: Costs = field(default_factory=Costs)

    @property
    def is_method(self) -> bool:
        """Whether it is what the job is about: no control, and own prompts only when trained."""
        return self.variant == (OWN if self.generator == "none" else self.generator)

    @property
    def per_seed(self) -> dict[str, Floats]:
        """Measure -> ``(S,)`` in per cent; ``h`` is the harmonic mean of the same seed's two."""
        return add_harmonic({k: 100 * v.mean(axis=1) for k, v in self.hits.items()})

    def mean(self, metric: str) -> float | None:
        """Return the mean over seeds; H is the harmonic mean of mean base and mean new."""
        values = self.per_seed
        if metric not in values:
            return None
        if metric == "h":
            return float(harmonic_mean(values["base"].mean(), values["new"].mean()))
        return float(values[metric].mean())

    def std(self, metric: str) -> float | None:
        """Return the population standard deviation (ddof 0) over seeds; None for fewer than two."""
        values = self.per_seed
        if metric not in values or len(self.seeds) < 2:
            return None
        return float(values[metric].std())

    def only(self, seeds: Sequence[int]) -> Row:
        """Return the same row with some of its seeds; costs stay the means over all."""
        return replace(self, seeds=tuple(seeds), hits=self.select(seeds, list(self.hits)))

    def select(self, seeds: Sequence[int], subsets: Sequence[str]) -> dict[str, Bools]:
        """Return the hits of some seeds, in that order, on some subsets."""
        index = [self.seeds.index(seed) for seed in seeds]
        return {subset: self.hits[subset][index] for subset in subsets}


@dataclass(frozen=True, kw_only=True)
class Section:
    """All rows of one setting, in the order of the table, and the records behind them.

    ``sweeps`` are rows of generators that were sampled in another way than configured, and
    ``ablations`` rows of jobs with another configuration, their controls among them; neither is a
    row of the main tables.
    """

    setting: Setting
    rows: tuple[Row, ...]
    sources: tuple[Source, ...]
    sweeps: tuple[Row, ...] = ()
    ablations: tuple[Row, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The measures that at least one trained method (or, without any, any row) has."""
        rows = [r for r in self.rows if r.learner != ZERO_SHOT] or list(self.rows)
        return tuple(m for m in METRICS if any(m in row.per_seed for row in rows))

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds of the trained methods (of all rows when nothing was trained)."""
        rows = [r for r in self.rows if r.learner != ZERO_SHOT] or list(self.rows)
        return tuple(sorted({seed for row in rows for seed in row.seeds}))


def build_sections(sources: Sequence[Source]) -> tuple[Section, ...]:
    """Group records by data set, backbone, protocol and shots; ablations stay beside the rows.

    Zero-shot records join every section of their data set, backbone and protocol, since they depend
    neither on shots nor on training, but on which classes and images are scored; those of the same
    shots are preferred. What joins nothing makes a section of its own.

    Raises `DataError` naming the files when records do not fit together, see `report.alike`.
    """
    trained: dict[Setting, list[Source]] = defaultdict(list)
    zero: dict[Setting, list[Source]] = defaultdict(list)
    for source in sources:
        job = source.record.job
        setting = Setting(
            dataset=job.dataset, backbone=job.backbone, protocol=job.protocol, shots=job.shots
        )
        is_zero = job.learner == ZERO_SHOT
        (zero if is_zero else trained)[setting].append(source)
    used: set[Setting] = set()
    sections = []
    for setting in sorted(trained):
        chosen = _zero_shot_for(setting, sorted(zero))
        if chosen is not None:
            used.add(chosen)
        joined = (zero[chosen] if chosen else []) + trained[setting]
        sections.append(_section(setting, joined))
    alone = [_section(setting, zero[setting]) for setting in sorted(zero) if setting not in used]
    return tuple(sorted([*sections, *alone], key=lambda section: section.setting))


def _zero_shot_for(setting: Setting, known: Sequence[Setting]) -> Setting | None:
    """Return zero-shot of the same data, backbone and protocol, rather of the same shots."""
    near = [s for s in known if replace(s, shots=setting.shots) == setting]
    near.sort(key=lambda s: s.shots != setting.shots)
    return near[0] if near else None


def _section(setting: Setting, sources: Sequence[Source]) -> Section:
    check_alike(sources)
    grouped: dict[_Key, list[Source]] = defaultdict(list)
    for source in sources:
        job = source.record.job
        for variant in dict.fromkeys(score.variant for score in source.record.scores):
            key = _Key(job.learner, job.generator, variant, job.setting)
            grouped[key].append(source)
    order = {key: row_order(key.learner, key.generator, key.variant) for key in grouped}
    keys = sorted(grouped, key=lambda k: (order[k], k.generator != "none", k.setting))
    rows = {key: _row(key, grouped[key]) for key in keys}
    main = [row for key, row in rows.items() if not key.setting and not is_swept(key.variant)]
    return Section(
        setting=setting,
        rows=_merge_own(main),
        sources=tuple(sources),
        sweeps=tuple(r for k, r in rows.items() if not k.setting and is_swept(k.variant)),
        ablations=tuple(r for k, r in rows.items() if k.setting and not is_swept(k.variant)),
    )


class _Key(NamedTuple):
    learner: str
    generator: str
    variant: str
    setting: str


def _row(key: _Key, sources: Sequence[Source]) -> Row:
    ordered = sorted(sources, key=lambda s: s.record.job.seed)
    name = row_name(key.learner, key.generator, key.variant)
    hits = {}
    for subset in ("base", "new", "all"):
        scores = [s.record.score(key.variant, subset) for s in ordered]
        lists = [score.hit_list() for score in scores if score is not None]
        if len(lists) == len(ordered):
            hits[subset] = np.array(lists, dtype=np.bool_)
        elif lists:
            logger.warning("%s: %s is not measured for every seed, left out", name, subset)
    config = ordered[0].record.config  # alike in all, but for the seed
    return Row(
        learner=key.learner,
        generator=key.generator,
        variant=key.variant,
        name=f"{name} · {key.setting}" if key.setting else name,
        seeds=tuple(s.record.job.seed for s in ordered),
        hits=hits,
        setting=key.setting,
        precision=config.get("precision", "fp32"),  # records leave the default out
        is_joint=config.get("fit", {}).get("mode") == "joint",
        draw_spread=mean_known(s.record.statistics.get("generated_spread") for s in ordered),
        costs=mean_costs([s.record for s in ordered], key.variant),
    )


def _merge_own(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Show a learner's own prompts once when the jobs with a generator repeat the same numbers."""
    out: list[Row] = []
    for row in rows:
        own = [i for i, r in enumerate(out) if (r.learner, r.variant) == (row.learner, OWN)]
        if row.variant != OWN or not own:
            out.append(row)
        elif _agree(out[own[0]], row):
            out[own[0]] = max(out[own[0]], row, key=lambda r: len(r.seeds))
        else:
            out.append(replace(row, name=f"{row.name} (in the {row.generator} job)"))
    return tuple(out)


def _agree(a: Row, b: Row) -> bool:
    shared = sorted(set(a.seeds) & set(b.seeds))
    mixed = (a.precision, a.is_joint) != (b.precision, b.is_joint)
    if not shared or mixed or set(a.hits) != set(b.hits):
        return False
    left, right = a.select(shared, list(a.hits)), b.select(shared, list(a.hits))
    return all(np.array_equal(left[k], right[k]) for k in left)
