"""Tables over several sections in the layout of the field: averages over data sets, and curves.

Rows are methods, found by their names in every section; controls have none, but for the trivial one
of the open world.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffuprompt.data import HALVES
from diffuprompt.report.aggregate import Section, Setting
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.left_out import left_out_part
from diffuprompt.report.names import METRICS, metric_name
from diffuprompt.report.rows import Row
from diffuprompt.report.shot_curves import Named, methods, shot_parts
from diffuprompt.report.stats import Floats, harmonic_mean
from diffuprompt.report.tables import Cell, Number, Table

H_OF_AVERAGES, MEAN_OF_H = "H", "Mean of H"
AVERAGES = (
    "Averages over {count} data sets ({names}), mean ± population standard deviation (ddof 0) of "
    "the seeds' averages where all data sets have the same seeds. H: harmonic mean of average base "
    "and average new, as the field publishes it; Mean of H: mean of the data sets' own H, which is "
    "at most as high. A method needs all data sets."
)
ONE = (
    "{measure} of each data set in per cent, mean ± population standard deviation (ddof 0) over "
    "seeds.{of} A method without one of them has no average."
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One table over sections of a protocol.

    ``answers`` are sentences about it, ``about`` what they are about.
    """

    protocol: str
    part: SectionPart
    about: str = ""
    answers: tuple[str, ...] = ()


def make_layouts(sections: Sequence[Section]) -> tuple[Layout, ...]:
    """Return averages over data sets and curves over shots; none where there is one of each."""
    alike: dict[Setting, list[Section]] = defaultdict(list)
    for section in sections:
        shared = section.setting
        alike[Setting(dataset="", backbone=shared.backbone, protocol=shared.protocol,
                      shots=shared.shots)].append(section)  # fmt: skip
    out = [layout for setting, each in sorted(alike.items()) for layout in _average(setting, each)]
    curves = [Layout(protocol=name, part=part) for name, part in shot_parts(sections)]
    return (*out, *curves)


def _average(setting: Setting, sections: Sequence[Section]) -> Iterator[Layout]:
    """Yield the averages over data sets, and a table of each measure.

    Where all trainings of a transfer leave one test set out each, the average is over these.
    Halves of a data set stand in none, since they are no data sets beside it.
    """
    sections = [section for section in sections if section.setting.dataset not in HALVES]
    if len(sections) < 2:
        return
    shots = f", {setting.shots} shots" if setting.shots else ""
    left_out = left_out_part(sections, f"{setting.backbone}{shots}")
    if left_out is not None:
        yield Layout(protocol=setting.protocol, part=left_out)
        return
    named = {section.setting.dataset: methods(section) for section in sections}
    measures = [m for m in METRICS if all(m in section.metrics for section in sections)]
    if not measures:
        return
    about = f"{len(sections)} data sets · {setting.backbone}{shots}"
    names = list(dict.fromkeys(name for rows in named.values() for name in rows))
    extra = (MEAN_OF_H,) if "h" in measures else ()
    rows = []
    for name in names:
        found = [rows_of[name] for rows_of in named.values() if name in rows_of]
        each = found if len(found) == len(named) else []
        cells = [average(each, m) for m in measures]
        rows.append((name, *cells, *([mean_of_h(each)] if extra else [])))
    caption = AVERAGES.format(count=len(named), names=", ".join(named))
    columns = ("Method", *map(metric_name, measures), *extra)
    table = Table(columns=columns, rows=tuple(rows), caption=caption)
    part = SectionPart(heading=f"Average over {about}", table=table)
    yield Layout(protocol=setting.protocol, part=part, about=about, answers=_leader(table))
    for measure in measures:
        heading = f"{metric_name(measure)} of {about}"
        table = _by_data_set(named, names, measure)
        yield Layout(protocol=setting.protocol, part=SectionPart(heading=heading, table=table))


def average(rows: Sequence[Row], measure: str) -> Cell:
    """Return a measure's average over rows of several data sets; H is of the averages."""
    if measure == "h":
        parts = [_averages(rows, part) for part in ("base", "new")]
        base, new = (values for values in parts)
        if base is None or new is None:
            return None
        value = float(harmonic_mean(base[0], new[0]))
        seeds = None if base[1] is None or new[1] is None else harmonic_mean(base[1], new[1])
        return Number(value=value, spread=_std(seeds))
    found = _averages(rows, measure)
    return None if found is None else Number(value=found[0], spread=_std(found[1]))


def mean_of_h(rows: Sequence[Row]) -> Cell:
    """Return the mean over data sets of their own H."""
    found = _averages(rows, "h")
    return None if found is None else Number(value=found[0], spread=_std(found[1]))


def _averages(rows: Sequence[Row], measure: str) -> tuple[float, Floats | None] | None:
    """Return the average of the rows' means and, where seeds agree, of each seed."""
    means = [row.mean(measure) for row in rows]
    known = [mean for mean in means if mean is not None]
    if not known or len(known) < len(rows):
        return None
    same = len({row.seeds for row in rows}) == 1
    seeds = np.mean([row.per_seed[measure] for row in rows], axis=0) if same else None
    return float(np.mean(known)), seeds


def _std(values: Floats | None) -> float | None:
    return float(values.std()) if values is not None and len(values) > 1 else None


def _by_data_set(named: Mapping[str, Named], names: Sequence[str], measure: str) -> Table:
    rows = []
    for name in names:
        found = [rows_of.get(name) for rows_of in named.values()]
        cells = [_cell(row, measure) for row in found]
        every = [row for row in found if row is not None]
        last = average(every, measure) if len(every) == len(found) else None
        if any(cell is not None for cell in cells):  # the open world's control has no other measure
            rows.append((name, *cells, last))
    of = " Average: the harmonic mean of average base and new." if measure == "h" else ""
    caption = ONE.format(measure=metric_name(measure), of=of)
    return Table(columns=("Method", *named, "Average"), rows=tuple(rows), caption=caption)


def _cell(row: Row | None, measure: str) -> Cell:
    mean = row.mean(measure) if row is not None else None
    return None if row is None or mean is None else Number(value=mean, spread=row.std(measure))


def _leader(table: Table) -> tuple[str, ...]:
    """Say which method has the highest H of averages, or the first measure's highest average."""
    column = table.columns.index(H_OF_AVERAGES) if H_OF_AVERAGES in table.columns else 1
    known = [(c.value, c.head, r[0]) for r in table.rows if isinstance(c := r[column], Number)]
    if len(known) < 2:
        return ()
    _, head, name = max(known, key=lambda one: one[0])
    what = "H of averages" if column > 1 else f"average {table.columns[column]}"
    return (f"The {what} is highest with {name}, {head}, of {len(known)} methods.",)
