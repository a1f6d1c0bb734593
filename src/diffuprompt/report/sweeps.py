"""The two sweeps of the plug-in study, over evaluations and over overfitting iterations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from diffuprompt.report.aggregate import Row, Section
from diffuprompt.report.cost_table import number
from diffuprompt.report.costs import Costs
from diffuprompt.report.names import METRICS, OWN, STEPS, learner_name
from diffuprompt.report.study import DIFFUSION, Figure, Part
from diffuprompt.report.tables import Cell, Number, Table

Points = dict[int, Row]
NFE = re.compile(r"diffusion@nfe=(\d+)")


def sweep_parts(section: Section) -> tuple[Part, ...]:
    """Return both sweeps of every learner that has them, over the seeds that all points share."""
    parts = []
    for row in section.rows:
        if row.variant != DIFFUSION:
            continue
        evaluations = _shared_seeds(_evaluations(section, row))
        if len(evaluations) > 2:
            parts.append(_part(section, row.learner, "evaluations", evaluations))
        iterations = _shared_seeds(_iterations(section, row))
        if len(iterations) > 2:
            parts.append(_part(section, row.learner, "overfitting iterations", iterations))
    return tuple(parts)


def _evaluations(section: Section, row: Row) -> Points:
    """The same trained generators, sampled with other numbers of evaluations."""
    points: Points = {}
    for other in section.sweeps:
        found = NFE.fullmatch(other.variant)
        if found and other.learner == row.learner:
            points[int(found[1])] = other
    configured = _config(section, row).get(DIFFUSION, {}).get("nfe")
    if configured is not None:
        points[int(configured)] = row
    return points


def _iterations(section: Section, row: Row) -> Points:
    """Generators trained on prompts that were overfitted longer or shorter; 0: own prompts."""
    points: Points = {}
    for other in section.ablations:
        found = STEPS.fullmatch(other.setting)
        if found and (other.learner, other.variant) == (row.learner, row.variant):
            points[int(found[1])] = other
    if not points:
        return {}
    configured = _config(section, row).get("overfit", {}).get("steps")
    if configured is not None:
        points[int(configured)] = row
    own = [r for r in section.rows if (r.learner, r.variant) == (row.learner, OWN)]
    return {0: own[0], **points} if own else points


def _config(section: Section, row: Row) -> Mapping[str, Any]:
    for source in section.sources:
        job = source.record.job
        if (job.learner, job.generator, job.setting) == (row.learner, row.generator, ""):
            return source.record.config
    return {}


def _shared_seeds(points: Points) -> Points:
    """Restrict all points to the seeds that all have; another mix of seeds is another curve."""
    if not points:
        return {}
    seeds = sorted(set.intersection(*(set(row.seeds) for row in points.values())))
    return {x: points[x].only(seeds) for x in sorted(points)} if seeds else {}


def _part(section: Section, learner: str, what: str, points: Points) -> Part:
    evaluations = what == "evaluations"
    cost = "overfitting, seconds" if not evaluations else "milliseconds an image"
    costs = {
        name: tuple((float(x), value) for x, value in series if value is not None)
        for name, series in _costs(points, evaluations).items()
    }
    setting = section.setting
    slug = re.sub(r"[^a-z0-9]+", "-", f"{setting.dataset}-{setting.backbone}-{learner}".lower())
    figure = Figure(
        name=f"sweep-{what.replace(' ', '-')}-{slug}",
        alt=f"{learner_name(learner)} + diffusion on {setting.dataset} over {what}",
        x=what,
        cost=cost,
        log_x=evaluations,
        lines={METRICS[m]: _line(points, m) for m in section.metrics},
        costs={name: series for name, series in costs.items() if series},
    )
    heading = f"Sweep over {what} ({learner_name(learner)})"
    return Part(heading=heading, table=_table(section, what, points), figure=figure)


def _costs(points: Points, evaluations: bool) -> dict[str, list[tuple[int, float | None]]]:
    if not evaluations:
        return {"overfitting": [(x, row.costs.overfit_s) for x, row in points.items() if x]}
    return {
        "generation": [(x, row.costs.generate_ms) for x, row in points.items()],
        "classification": [(x, row.costs.classify_ms) for x, row in points.items()],
    }


def _line(points: Points, metric: str) -> tuple[tuple[float, float, float], ...]:
    out = []
    for x, row in points.items():
        mean = row.mean(metric)
        if mean is not None:
            out.append((float(x), mean, row.std(metric) or 0.0))
    return tuple(out)


def _table(section: Section, what: str, points: Points) -> Table:
    metrics = section.metrics
    rows: list[tuple[Cell, ...]] = []
    for x, row in points.items():
        values: list[Cell] = []
        for metric in metrics:
            mean = row.mean(metric)
            values.append(None if mean is None else Number(value=mean, spread=row.std(metric)))
        rows.append((Number(value=x, digits=0), *values, *_cost_cells(row.costs, x, what)))
    seeds = ", ".join(map(str, next(iter(points.values())).seeds))
    columns = (what, *(METRICS[m] for m in metrics), "overfit s", "generate ms", "classify ms")
    zero = " Zero iterations are the learner's own prompts." if 0 in points else ""
    caption = f"Mean ± standard deviation over seeds {seeds}; milliseconds an image.{zero}"
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def _cost_cells(costs: Costs, x: int, what: str) -> Sequence[Cell]:
    overfit = costs.overfit_s if x or what == "evaluations" else None
    return number(overfit, 1), number(costs.generate_ms, 2), number(costs.classify_ms, 2)
