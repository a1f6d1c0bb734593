"""The two sweeps of the plug-in study, over evaluations and over overfitting iterations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from diffuprompt.report import (
    OWN,
    Cell,
    Costs,
    Number,
    Row,
    Section,
    SectionPart,
    Table,
    differing_fields,
    learner_name,
    metric_name,
    number,
)
from diffuprompt.studies.plug_in.design import DIFFUSION
from diffuprompt.studies.plug_in.gains import GENERATED
from diffuprompt.studies.plug_in.sweep_figure import SweepFigure

EVALUATIONS, ITERATIONS = "evaluations", "overfitting iterations"
SAMPLER = f"{DIFFUSION}.sampler"
ENOUGH = 3  # points that make a curve

Points = dict[int, Row]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Rows of one learner by the number that varies, `EVALUATIONS` or `ITERATIONS`.

    ``sampler`` names the one of another sampler than the learner's main row has; "" for its own.
    """

    learner: str
    what: str
    points: Points
    sampler: str = ""

    @property
    def jobs(self) -> frozenset[tuple[str, str, str]]:
        """Learner, generator and setting of the ablations that the sweep shows instead."""
        rows = () if self.sampler else self.points.values()
        return frozenset((r.learner, r.generator, r.setting) for r in rows if r.setting)


def find_sweeps(section: Section) -> tuple[Sweep, ...]:
    """Return both sweeps of every learner that has them, over the seeds that all points share."""
    found = []
    for row in section.main:
        if row.variant != GENERATED:
            continue
        others = [
            (_sampler(o), _evaluations(section.ablated_sweeps, o)) for o in _resolved(section, row)
        ]
        for what, sampler, points in (
            (EVALUATIONS, "", _evaluations(section.sweeps, row)),
            *((EVALUATIONS, sampler, points) for sampler, points in others),
            (ITERATIONS, "", _iterations(section, row)),
        ):
            shared = _shared_seeds(points)
            if len(shared) >= ENOUGH:
                found.append(Sweep(learner=row.learner, what=what, points=shared, sampler=sampler))
    return tuple(found)


def _resolved(section: Section, row: Row) -> list[Row]:
    """Return the ablations of a row that differ from it in the sampler alone."""
    return [
        other
        for other in section.ablations
        if (other.learner, other.variant) == (row.learner, row.variant)
        and differing_fields(other.config, row.config) == {SAMPLER}
    ]


def _sampler(row: Row) -> str:
    return str(row.config[DIFFUSION]["sampler"])


def _evaluations(sweeps: Sequence[Row], row: Row) -> Points:
    """The same trained generators, sampled with other numbers of evaluations."""
    points: Points = {}
    for other in sweeps:
        variant = other.variant
        is_same = (other.learner, variant.generator, other.setting) == (
            row.learner, DIFFUSION, row.setting
        )  # fmt: skip
        if is_same and variant.nfe is not None and variant.draws == 1:
            points[variant.nfe] = other
    configured = row.config.get(DIFFUSION, {}).get("nfe")
    if configured is not None:
        points[int(configured)] = row
    return points


def _iterations(section: Section, row: Row) -> Points:
    """Generators trained on prompts that were overfitted longer or shorter; 0: own prompts.

    Those are the ablations whose configuration differs from the row's in just this number.
    """
    points: Points = {}
    for other in section.ablations:
        is_same = (other.learner, other.variant) == (row.learner, row.variant)
        if is_same and differing_fields(other.config, row.config) == {"overfit.steps"}:
            points[int(other.config["overfit"]["steps"])] = other
    if not points:
        return {}
    points[int(row.config["overfit"]["steps"])] = row
    own = [r for r in section.main if (r.learner, r.variant) == (row.learner, OWN)]
    return {0: own[0], **points} if own else points


def _shared_seeds(points: Points) -> Points:
    """Restrict all points to the seeds that all have; another mix of seeds is another curve."""
    if not points:
        return {}
    seeds = sorted(set.intersection(*(set(row.seeds) for row in points.values())))
    return {x: points[x].only(seeds) for x in sorted(points)} if seeds else {}


def sweep_part(section: Section, sweep: Sweep) -> SectionPart:
    """Return the table and the figure of one sweep."""
    setting, learner, what = section.setting, sweep.learner, sweep.what
    evaluations = what == EVALUATIONS
    costs = {
        name: tuple((float(x), value) for x, value in series if value is not None)
        for name, series in _costs(sweep).items()
    }
    told = f"{setting.dataset}-{setting.backbone}-{learner}-{sweep.sampler}".strip("-").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", told)
    by = f" with {sweep.sampler}" if sweep.sampler else ""
    figure = SweepFigure(
        name=f"sweep-{what.replace(' ', '-')}-{slug}",
        alt=f"{learner_name(learner)} + diffusion{by} on {setting.dataset} over {what}",
        x=what,
        cost="milliseconds per image" if evaluations else "overfitting, seconds",
        log_x=evaluations,
        lines={metric_name(m): line for m in section.metrics if (line := _line(sweep.points, m))},
        costs={name: series for name, series in costs.items() if series},
    )
    heading = f"Sweep over {what}{by} ({learner_name(learner)})"
    return SectionPart(heading=heading, table=_table(section, sweep), figure=figure)


def _costs(sweep: Sweep) -> dict[str, list[tuple[int, float | None]]]:
    points = sweep.points
    if sweep.what == ITERATIONS:
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


def _table(section: Section, sweep: Sweep) -> Table:
    metrics, what, points = section.metrics, sweep.what, sweep.points
    rows: list[tuple[Cell, ...]] = []
    for x, row in points.items():
        values: list[Cell] = []
        for metric in metrics:
            mean = row.mean(metric)
            values.append(None if mean is None else Number(value=mean, spread=row.std(metric)))
        rows.append((Number(value=x, digits=0), *values, *_cost_cells(row.costs, x, what)))
    seeds = ", ".join(map(str, next(iter(points.values())).seeds))
    columns = (what, *(metric_name(m) for m in metrics), "overfit s", "generate ms", "classify ms")
    zero = " Zero iterations are the learner's own prompts." if 0 in points else ""
    caption = f"Mean ± standard deviation over seeds {seeds}; milliseconds per image.{zero}"
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def _cost_cells(costs: Costs, x: int, what: str) -> Sequence[Cell]:
    overfit = costs.overfit_s if x or what == EVALUATIONS else None
    return number(overfit, 1), number(costs.generate_ms, 2), number(costs.classify_ms, 2)
