"""The tables of the plug-in study: learners, rivals of diffusion, ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffuprompt.report.aggregate import Row, Section
from diffuprompt.report.compare import Comparison, compare, difference
from diffuprompt.report.cost_table import number
from diffuprompt.report.names import METRICS, OWN, is_control, is_swept_setting, learner_name
from diffuprompt.report.stats import Interval
from diffuprompt.report.study import DECIDING, DIFFUSION, Gain, Part, Study
from diffuprompt.report.tables import Cell, Number, Table

GAIN_CAPTION = (
    "H gains are paired differences in points with 95 % bootstrap intervals over seeds and images; "
    "the mean's interval draws the same images for all learners. Above controls: the intervals of "
    "diffusion minus regression and of diffusion minus shuffled pi are both above zero. Spread: "
    "how far the prompts of four draws for one training image lie apart, as a share of how far V* "
    "is from V0."
)


def study_parts(section: Section, study: Study | None) -> tuple[Part, ...]:
    """Return the table of learners, and one of rivals for each learner that has some."""
    if study is None:
        return ()
    parts = [Part(heading="Diffusion plugged into each learner", table=gains_table(study))]
    for gain in study.gains:
        rivals = [r for r in section.rows if _is_rival(r, gain.learner)]
        if rivals:
            heading = f"Diffusion and its rivals ({learner_name(gain.learner)})"
            parts.append(Part(heading=heading, table=rivals_table(gain, rivals)))
    return tuple(parts)


def gains_table(study: Study) -> Table:
    """One row a learner and a last one with the mean gain."""
    rows: list[tuple[Cell, ...]] = []
    for gain in study.gains:
        own = tuple(number(gain.own.mean(m), 2) for m in ("base", "new", "h"))
        generated = tuple(number(gain.generated.mean(m), 2) for m in ("base", "new", "h"))
        gains = tuple(difference(_h(gain.over.get(name))) for name in (OWN, *DECIDING))
        above = "yes" if gain.is_above_controls else "no"
        spread = number(gain.generated.draw_spread, 2)
        rows.append((learner_name(gain.learner), *own, *generated, *gains, spread, above))
    last = f"{len(study.above)} of {len(study.gains)}"
    gap: tuple[Cell, ...] = (None,) * 6
    rows.append(("Mean", *gap, difference(study.mean), None, None, None, last))
    columns = (
        "Learner",
        *(f"own {METRICS[m]}" for m in ("base", "new", "h")),
        *(f"+ diffusion {METRICS[m]}" for m in ("base", "new", "h")),
        "H gain",
        "over regression",
        "over shuffled pi",
        "spread",
        "above controls",
    )
    return Table(columns=columns, rows=tuple(rows), caption=GAIN_CAPTION)


def _h(comparison: Comparison | None) -> Interval | None:
    return None if comparison is None else comparison.intervals.get("h")


def _is_rival(row: Row, learner: str) -> bool:
    generated = row.variant != OWN and not is_control(row.variant)
    return row.learner == learner and generated and row.variant != DIFFUSION


def rivals_table(gain: Gain, rivals: Sequence[Row]) -> Table:
    """One row a generator: accuracy, gain of H over own prompts, what diffusion has over it.

    A rival's accuracies are of the seeds that it shares with the gain, as its differences are.
    """
    rows: list[tuple[Cell, ...]] = []
    seeds = gain.own.seeds
    shared = [r.only([s for s in r.seeds if s in seeds] or r.seeds) for r in rivals]
    for row in (gain.own, gain.generated, *shared):
        alike = row.precision == gain.own.precision
        over_own = compare(row, gain.own) if alike and row is not gain.own else None
        under = compare(gain.generated, row) if alike and row is not gain.generated else None
        rows.append(
            (
                "own prompts" if row is gain.own else row.variant,
                *(number(row.mean(m), 2) for m in ("base", "new", "h")),
                difference(_h(over_own)),
                difference(_h(under)),
                number(row.costs.train_s, 1),
                number(row.costs.generate_ms, 2),
                number(row.costs.classify_ms, 2),
                Number(value=len(row.seeds), digits=0),
            )
        )
    columns = (
        "Prompts",
        *(METRICS[m] for m in ("base", "new", "h")),
        "H gain over own",
        "diffusion minus it (H)",
        "Training s",
        "generate ms",
        "classify ms",
        "Seeds",
    )
    caption = (
        "The same learner, overfitted prompts and training budget under every generator. Paired "
        "differences in points with 95 % bootstrap intervals; milliseconds an image."
    )
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def _intervals(row: Row, other: Row | None) -> Mapping[str, Interval]:
    compared = compare(row, other) if other is not None and other is not row else None
    return {} if compared is None else compared.intervals


def ablation_parts(section: Section) -> tuple[Part, ...]:
    """Return the table of jobs with another configuration, beside the row that they vary.

    What a sweep shows already is left out.
    """
    shown = [r for r in section.ablations if r.is_method and not is_swept_setting(r.setting)]
    if not shown:
        return ()
    metrics = section.metrics or tuple(shown[0].per_seed)
    known = (*section.rows, *section.ablations)
    every = {(r.learner, r.generator, r.variant, r.setting): r for r in known}
    rows: list[tuple[Cell, ...]] = []
    for row in shown:
        job = (row.learner, row.generator)
        default = _intervals(row, every.get((*job, row.variant, "")))
        own = _intervals(row, every.get((*job, OWN, row.setting)))
        mean = _intervals(row, every.get((*job, DECIDING[0], row.setting)))
        values = tuple(number(row.mean(m), 2) for m in metrics)
        differences = tuple(difference(default.get(m)) for m in metrics)
        controls = (difference(own.get("h")), difference(mean.get("h")))
        seeds = Number(value=len(row.seeds), digits=0)
        told = (number(row.draw_spread, 2), number(row.costs.train_s, 1))
        rows.append((row.name, *values, *differences, *controls, *told, seeds))
    columns = (
        "Job",
        *(METRICS[m] for m in metrics),
        *(f"{METRICS[m]} − default" for m in metrics),
        "H − own prompts",
        "H − regression",
        "Spread",
        "Training s",
        "Seeds",
    )
    caption = (
        "Differences to the same job without the setting, and to the own prompts and the "
        "regression of the job itself: paired, with 95 % intervals."
    )
    return (
        Part(heading="Ablations", table=Table(columns=columns, rows=tuple(rows), caption=caption)),
    )
