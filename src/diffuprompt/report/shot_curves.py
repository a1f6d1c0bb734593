"""Accuracy over shots: a table and a curve for each data set, and for their average."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from diffuprompt.report.aggregate import Section
from diffuprompt.report.curve_figure import CurveFigure, make_points
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.names import is_control, is_trivial
from diffuprompt.report.other_sets import spread
from diffuprompt.report.rows import Row
from diffuprompt.report.stats import Floats
from diffuprompt.report.tables import Table

MEASURE = "all"
CAPTION = (
    "Accuracy in per cent by shots (images a class), mean ± population standard deviation (ddof 0) "
    "over seeds"
)
DRAWN = " The figure holds the methods with several numbers of shots."

Named = Mapping[str, Row]  # the methods of a section by their names
Curves = Mapping[str, Mapping[int, Floats | None]]  # method -> shots -> (S,) accuracies


def methods(section: Section) -> Named:
    """Return the rows that are methods; controls are none, but for the open world's."""
    out: dict[str, Row] = {}
    name = ""
    for row in section.main:
        if not is_control(row.variant):
            name = row.name
            out[name] = row
        elif is_trivial(row.variant):  # named by what it is of, which its place says elsewhere
            out[f"{row.name} ({name})"] = row
    return out


def shot_parts(sections: Sequence[Section]) -> Iterator[tuple[str, SectionPart]]:
    """Yield protocol and part of every data set that was trained with several numbers of shots.

    Where several data sets have the same numbers, their average comes first: the field's curve.
    """
    found: dict[tuple[str, str], dict[str, dict[int, Named]]] = {}
    for section in sections:
        setting = section.setting
        if setting.shots and MEASURE in section.metrics:
            named = found.setdefault((setting.protocol, setting.backbone), {})
            named.setdefault(setting.dataset, {})[setting.shots] = methods(section)
    for (protocol, backbone), data_sets in found.items():
        several = {name: dict(sorted(of.items())) for name, of in data_sets.items() if len(of) > 1}
        alike: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name, of in several.items():
            alike[tuple(of)].append(name)
        curves = {name: _curves(of) for name, of in several.items()}
        groups = {shots: names for shots, names in alike.items() if len(names) > 1}
        for shots, names in groups.items():
            which = f" ({', '.join(map(str, shots))})" if len(groups) > 1 else ""
            title = f"Average over {len(names)} data sets by shots{which} · {backbone}"
            mean = _mean([curves[name] for name in names])
            yield protocol, _part(mean, title, protocol, f", of {', '.join(names)}")
        for name in several:
            title = f"{name} by shots · {backbone}"
            yield protocol, _part(curves[name], title, protocol, "")


def _curves(by_shots: Mapping[int, Named]) -> Curves:
    names = dict.fromkeys(name for rows in by_shots.values() for name in rows)
    return {
        name: {
            shots: rows[name].per_seed.get(MEASURE) if name in rows else None
            for shots, rows in by_shots.items()
        }
        for name in names
    }


def _mean(curves: Sequence[Curves]) -> Curves:
    """Return the average of several data sets; a gap in one, or other seeds, is a gap."""
    names = dict.fromkeys(name for one in curves for name in one)
    shots = next(iter(curves[0].values()))
    out: dict[str, dict[int, Floats | None]] = {}
    for name in names:
        out[name] = {}
        for k in shots:
            each = [one.get(name, {}).get(k) for one in curves]
            known = [values for values in each if values is not None]
            same = len(known) == len(each) and len({len(values) for values in known}) == 1
            out[name][k] = np.mean(known, axis=0) if same else None
    return out


def _part(curves: Curves, title: str, protocol: str, sets: str) -> SectionPart:
    shots = list(dict.fromkeys(k for values in curves.values() for k in values))
    table = Table(
        columns=("Method", *map(str, shots)),
        rows=tuple(
            (name, *(spread(v) for v in values.values())) for name, values in curves.items()
        ),
        caption=f"{CAPTION}{sets}.{DRAWN}",
    )
    lines = [(name, make_points(values)) for name, values in curves.items()]
    drawn = tuple((name, points) for name, points in lines if len(points) > 1)
    figure = CurveFigure(
        name=f"{protocol} {title}",
        alt=title,
        x="shots",
        log_x=True,
        lines=drawn,
    )
    return SectionPart(heading=title, table=table, figure=figure if drawn else None)
