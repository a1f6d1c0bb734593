"""Accuracy on corrupted test sets, by severity (with its curve) and by kind."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.report.aggregate import Section
from diffuprompt.report.curve_figure import CurveFigure, Points, make_points
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.names import is_control
from diffuprompt.report.other_sets import SOURCE, mean_over, spread
from diffuprompt.report.rows import Row, TestSet
from diffuprompt.report.severities import corrupted
from diffuprompt.report.tables import Cell, Table

CLEAN, MEAN = "clean", "Mean"
CAPTION = (
    "Accuracy in per cent on corrupted test images, mean ± population standard deviation (ddof 0) "
    "over seeds. {of} Mean: over all of them, clean images aside; a method needs a score of each."
)


def robustness_parts(section: Section) -> tuple[SectionPart, ...]:
    """Return two tables for each part of the classes that was scored; none without such scores."""
    found = corrupted({test_set for row in section.rows for test_set in row.elsewhere})
    out: list[SectionPart] = []
    for part in sorted({part for _, part in found}):
        sets = {s: place for s, place in found.items() if s[1] == part}
        title = "Robustness" if part == SOURCE else f"Robustness ({part})"
        out += _parts(section, sets, title)
    return tuple(out)


def _parts(
    section: Section, sets: dict[TestSet, tuple[str, int]], title: str
) -> tuple[SectionPart, SectionPart]:
    rows = [r for r in (*section.rows, *section.judged) if any(s in r.elsewhere for s in sets)]
    by_kind: dict[str, list[TestSet]] = {}
    by_severity: dict[str, list[TestSet]] = {}
    for test_set, (kind, _) in sets.items():
        by_kind.setdefault(kind, []).append(test_set)
    for test_set, (_, severity) in sorted(sets.items(), key=lambda item: item[1][1]):
        by_severity.setdefault(str(severity), []).append(test_set)
    kinds = ", ".join(by_kind)
    first = _table(rows, by_severity, f"A severity is the mean over kinds: {kinds}.")
    second = _table(rows, by_kind, f"A kind is the mean over severities {', '.join(by_severity)}.")
    figure = CurveFigure(
        name=f"robustness {section.setting.title} {title}",
        alt=f"{title} of {section.setting.dataset}: accuracy by severity",
        x="severity (0: clean)",
        log_x=False,
        lines=tuple(_lines(rows, by_severity)),
    )
    return (
        SectionPart(heading=f"{title} by severity", table=first, figure=figure),
        SectionPart(heading=f"{title} by kind of corruption", table=second),
    )


def _table(rows: Sequence[Row], groups: dict[str, list[TestSet]], of: str) -> Table:
    everything = [test_set for sets in groups.values() for test_set in sets]
    has_clean = any(SOURCE in row.per_seed for row in rows)

    def cells(row: Row) -> tuple[Cell, ...]:
        clean = [spread(row.per_seed.get(SOURCE))] if has_clean else []
        means = [spread(mean_over(row, sets)) for sets in (*groups.values(), everything)]
        return (row.name, *clean, *means)

    return Table(
        columns=("Method", *([CLEAN] if has_clean else []), *groups, MEAN),
        rows=tuple(cells(row) for row in rows),
        caption=CAPTION.format(of=of),
    )


def _lines(
    rows: Sequence[Row], by_severity: dict[str, list[TestSet]]
) -> Sequence[tuple[str, Points]]:
    out = []
    for row in rows:
        values = {int(s): mean_over(row, sets) for s, sets in by_severity.items()}
        points = make_points({0: row.per_seed.get(SOURCE), **values})
        if points and not is_control(row.variant):
            out.append((row.name, points))
    return out
