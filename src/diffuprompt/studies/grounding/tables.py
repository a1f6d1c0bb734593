"""Tables of the grounding study: main rows, kinds of expressions, other test sets, ablations."""

from __future__ import annotations

from diffuprompt.report import Cell, Interval, MethodRow, Number, Table, device_in_words, number
from diffuprompt.studies.grounding.design import (
    FROZEN,
    MEASURE_NAMES,
    METHODS,
    OURS,
    REGRESSION,
    Entry,
)
from diffuprompt.studies.grounding.findings import WorldFindings, varied_of

MAIN = ("r1", "r5", "r10", "ub")
MISSING = "missing"
ORACLE = "oracle"  # reads the answer: the best of nothing
COSTS = ("Trainable", "Generator", "Total", "Training s", "ms a picture", "Timed on")


def main_table(found: WorldFindings) -> Table:
    """One row per method of the study, those without a record too."""
    best = {measure: _best(found, measure) for measure in MAIN}
    rows = []
    for entry in METHODS:
        row = found.rows.get(entry.key)
        means = {m: found.mean(entry.key, m) for m in MAIN}
        rows.append(
            (
                _name(entry),
                *(
                    mean_cell(means[m], best=means[m] is not None and best[m] == means[m])
                    for m in MAIN
                ),
                _gain(found, entry.key, FROZEN),
                _gain(found, OURS, entry.key),
                *_costs(found, row, found.world.name),
                seeds_cell(row),
            )
        )
    columns = (
        "Method", *(MEASURE_NAMES[m] for m in MAIN), "R@1 − Zero-shot", "Diff-Prompt − it, R@1",
        *COSTS, "Seeds",
    )  # fmt: skip
    return Table(columns=columns, rows=tuple(rows), caption=_caption(found))


def _caption(found: WorldFindings) -> str:
    learned = sorted({r.job.expressions for row in found.rows.values() for r in row.records} - {0})
    trained = " or ".join(f"{count:,}" for count in learned)
    detectors = sorted({r.job.detector for row in found.rows.values() for r in row.records})
    return (
        f"Per cent of {found.own.total:,} expressions on {found.own.num_pictures:,} pictures, "
        "means over seeds with 95 % intervals; differences in points, paired. Detector: "
        f"{', '.join(detectors)}, frozen; trained on {trained or 'no'} expressions{_held(found)}. "
        "The paper's and the released form are their construction, at the size and with the recipe "
        "of our default. Bold: best, the true mask aside. Trainable: parameters that learn from "
        "boxes. Generator: those of the mask generator in front. Total: all that runs. Training: "
        "wall seconds of all stages. Milliseconds: making prompts and detecting, in batches. Both "
        "are means over the seeds that were timed on the machine that the last column names."
    )


def _held(found: WorldFindings) -> str:
    """Say which expressions the prompts of generated masks learn from."""
    held = sorted(
        {
            record.config.get("expressions", {}).get("held", 0)
            for key in (OURS, REGRESSION)
            if key in found.rows
            for record in found.rows[key].records
        }
        - {0}
    )
    if not held:
        return ""
    shown = " or ".join(f"{count:,}" for count in held)
    return f", of which what reads generated masks sees the last {shown} only"


def kinds_table(found: WorldFindings) -> Table | None:
    """R@1 and R@5 by kind of expression; None where the world's expressions have no kinds."""
    kinds = found.own.kinds
    if not kinds:
        return None
    cells = [(measure, kind) for measure in ("r1", "r5") for kind in kinds]
    extra = ("giou_r1", "mask_iou")
    rows = tuple(
        (
            _name(entry),
            *(mean_cell(found.mean(entry.key, m, kind=kind)) for m, kind in cells),
            *(mean_cell(found.mean(entry.key, m)) for m in extra),
        )
        for entry in METHODS
    )
    columns = (
        "Method",
        *(f"{MEASURE_NAMES[m]}, {kind}" for m, kind in cells),
        *(MEASURE_NAMES[m] for m in extra),
    )
    caption = (
        "By kind of expression: plain names the object alone, extreme by its place or size among "
        "others, relation by another object. GIoU: boxes count under the generalised IoU, as in "
        "the released evaluator. Mask IoU: of the generated mask with the true one."
    )
    return Table(columns=columns, rows=rows, caption=caption)


def generalization_table(found: WorldFindings) -> Table | None:
    """Test sets that no method was trained for; None where none is asked for or scored."""
    tests = [test for test in found.tests if test != found.world.name]
    if not tests:
        return None
    rows = []
    for entry in METHODS:
        row = found.rows.get(entry.key)
        scored = row is not None and any(row.on(test) is not None for test in tests)
        if not scored and entry.key not in (FROZEN, OURS):
            continue
        for test in tests:
            if entry.key in (FROZEN, OURS) or found.mean(entry.key, "r1", test=test) is not None:
                rows.append(_elsewhere(found, entry, test))
    columns = (
        "Test set",
        "Method",
        *(MEASURE_NAMES[m] for m in MAIN),
        "R@1 − Zero-shot",
        "n",
        "Seeds",
    )
    caption = (
        f"Trained on {found.world.name}, tested elsewhere without any change. Held-out looks are "
        "never seen by detector or method; styles are drawn in other ways."
    )
    order = {test: i for i, test in enumerate(tests)}
    rows.sort(key=lambda cells: order[str(cells[0])])
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def _elsewhere(found: WorldFindings, entry: Entry, test: str) -> tuple[Cell, ...]:
    total = found.tests[test].total
    return (
        test,
        _name(entry),
        *(mean_cell(found.mean(entry.key, m, test=test)) for m in MAIN),
        difference_cell(found.difference(entry.key, FROZEN, "r1", test=test))
        if entry.key != FROZEN
        else None,
        number(total or None, 0),
        seeds_cell(found.rows[entry.key].on(test) if entry.key in found.rows else None),
    )


def varied_table(found: WorldFindings) -> Table | None:
    """Ablations and transfers against the main row of the same seed; None where none is asked."""
    groups = varied_of(found.world)
    if not groups:
        return None
    rows = [_varied("", "as it is", found.rows.get(OURS), found, found.world.name)]
    for group, each in groups.items():
        for ablation in each:
            if ablation.test:
                rows.append(_varied(group, "as it is", found.rows.get(OURS), found, ablation.test))
            row = found.varied.get(ablation.setting)
            rows.append(_varied(group, ablation.title, row, found, ablation.test))
    columns = (
        "Varied", "Variant", *(MEASURE_NAMES[m] for m in MAIN), "R@1 − as it is", "Mask IoU",
        *COSTS, "Seeds",
    )  # fmt: skip
    caption = "Diff-Prompt with one thing changed, against its main row of the same seed."
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def _varied(
    group: str, title: str, row: MethodRow | None, found: WorldFindings, test: str
) -> tuple[Cell, ...]:
    main, own = found.rows.get(OURS), found.tests[test or found.world.name]
    gain = None
    if row is not None and main is not None and row is not main:
        gain = own.difference(row, main, "r1")
    return (
        group,
        title,
        *(mean_cell(own.mean(row, m) if row is not None else None) for m in MAIN),
        difference_cell(gain),
        mean_cell(own.mean(row, "mask_iou") if row is not None else None),
        *_costs(found, row, test or found.world.name),
        seeds_cell(row.on(own.test) if row is not None else None),
    )


def _name(entry: Entry) -> str:
    return f"— {entry.title}" if entry.group == "control" else entry.title


def _best(found: WorldFindings, measure: str) -> Interval | None:
    means = [found.mean(e.key, measure) for e in METHODS if e.key != ORACLE]
    return max((m for m in means if m is not None), key=lambda m: m.estimate, default=None)


def mean_cell(interval: Interval | None, *, best: bool = False) -> Cell:
    """Return a mean with its interval."""
    if interval is None:
        return None
    ends = (interval.low, interval.high)
    return Number(value=interval.estimate, interval=ends, digits=1, best=best)


def _gain(found: WorldFindings, a: str, b: str) -> Cell:
    return None if a == b else difference_cell(found.difference(a, b, "r1"))


def difference_cell(interval: Interval | None) -> Cell:
    """Return a difference with its sign and interval."""
    if interval is None:
        return None
    ends = (interval.low, interval.high)
    return Number(value=interval.estimate, interval=ends, digits=1, signed=True)


def _costs(found: WorldFindings, row: MethodRow | None, test: str) -> tuple[Cell, ...]:
    if row is None:
        return (None,) * len(COSTS)
    timed = found.timed(row)
    return (
        number(row.mean(lambda r: r.trainable_parameters), 0),
        number(row.mean(lambda r: r.generator_parameters), 0),
        number(row.mean(lambda r: r.total_parameters), 0),
        number(timed.mean(lambda r: sum(r.seconds.values())), 1),
        number(timed.milliseconds(test), 1),
        device_in_words(timed.devices[0]),
    )


def seeds_cell(row: MethodRow | None) -> str:
    """Return the seeds of a row in words."""
    if row is None:
        return MISSING
    return "—" if row.is_untrained else ", ".join(map(str, row.seeds))
