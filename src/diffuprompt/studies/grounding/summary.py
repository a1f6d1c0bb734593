"""``summary.json`` of the grounding study: its answer in numbers, a function of records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffuprompt.report import RESAMPLES, GroundingSource, Interval, MethodRow
from diffuprompt.studies.grounding.design import ABLATIONS, FROZEN, OURS, TRANSFERS
from diffuprompt.studies.grounding.findings import WorldFindings, find
from diffuprompt.studies.grounding.verdicts import find_verdicts

SCHEMA = "diffuprompt.grounding-summary/1"
DIGITS = 4
METHOD = (
    "r1, r5, r10 and ub are per cent of test expressions with a box of IoU 0.5 or more among the "
    "1, 5, 10 or all boxes; means over seeds. Intervals (ci): 95 %, bootstrap over pictures with "
    f"seeds averaged, {RESAMPLES:,} resamples. r1_over_zero_shot and r1_below_diff_prompt are "
    "paired: the same expressions, detector and seeds. Ablations and transfers: Diff-Prompt with "
    "one thing changed, r1_over_main against its main row of the same seed."
)
MEASURES = ("r1", "r5", "r10", "ub")


def make_summary(
    sources: Sequence[GroundingSource], *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Return the summary: worlds with an entry per method, ablations, targets, what is missing.

    A world without records is empty. Raises `DataError` as `findings.find` does.
    """
    return _summary_of(find(sources, resamples=resamples))


def _summary_of(all_found: Sequence[WorldFindings]) -> dict[str, Any]:
    """Return the summary of what was found."""
    out: dict[str, Any] = {"schema_name": SCHEMA, "method": METHOD}
    for found in all_found:
        out[found.world.name] = {
            key: _main(found, key) for key in found.rows if found.mean(key, "r1") is not None
        }
    out["ablations"] = {
        setting: _varied(found, row, _tested(setting, found))
        for found in all_found
        for setting, row in found.varied.items()
        if found.tests[_tested(setting, found)].mean(row, "r1") is not None
    }
    out["generalization"] = {
        found.world.name: {
            test: {key: _measures(found, row, test) | {"seeds": list(scored.seeds)}
                   for key, row in found.rows.items() if (scored := row.on(test)) is not None}
            for test in found.tests
            if test != found.world.name
        }
        for found in all_found
        if len(found.tests) > 1
    }  # fmt: skip
    out["targets"] = {
        found.world.name: [
            {
                "target": verdict.target,
                "status": verdict.status,
                "by": None if verdict.by is None else _round(verdict.by),
            }
            for verdict in find_verdicts(found)
        ]
        for found in all_found
    }
    out["missing"] = {found.world.name: list(found.missing) for found in all_found}
    return out


def _main(found: WorldFindings, key: str) -> dict[str, Any]:
    row = found.rows[key]
    out = _measures(found, row, found.world.name) | _costs(found, row)
    out |= _gain("r1_over_zero_shot", found.difference(key, FROZEN, "r1"))
    out |= _gain("r1_below_diff_prompt", found.difference(OURS, key, "r1"))
    return out


def _tested(setting: str, found: WorldFindings) -> str:
    """Return the test set by which an ablation is compared."""
    own = (v.test for v in (*ABLATIONS, *TRANSFERS) if v.setting == setting)
    return next(own, "") or found.world.name


def _varied(found: WorldFindings, row: MethodRow, test: str) -> dict[str, Any]:
    main = found.rows.get(OURS)
    gain = None if main is None else found.tests[test].difference(row, main, "r1")
    return {
        "world": found.world.name,
        "test": test,
        **_measures(found, row, test),
        **_costs(found, row),
        **_gain("r1_over_main", gain),
    }


def _measures(found: WorldFindings, row: MethodRow, test: str) -> dict[str, Any]:
    intervals = found.tests[test]
    out: dict[str, Any] = {}
    for measure in (*MEASURES, "giou_r1", "mask_iou"):
        out |= _gain(measure, intervals.mean(row, measure))
    out["r1_by_kind"] = {
        kind: _round(mean.estimate)
        for kind in intervals.kinds
        if (mean := intervals.mean(row, "r1", kind)) is not None
    }
    return out | {"n": intervals.total, "pictures": intervals.num_pictures}


def _costs(found: WorldFindings, row: MethodRow) -> dict[str, Any]:
    timed = found.timed(row)
    milliseconds = timed.milliseconds(found.world.name)
    seconds = timed.mean(lambda record: sum(record.seconds.values()))
    return {
        "trainable_parameters": _whole(row.mean(lambda r: r.trainable_parameters)),
        "generator_parameters": _whole(row.mean(lambda r: r.generator_parameters)),
        "total_parameters": _whole(row.mean(lambda r: r.total_parameters)),
        "train_seconds": None if seconds is None else round(seconds, 1),
        "ms_per_picture": None if milliseconds is None else round(milliseconds, 2),
        "timed_on": timed.devices[0],
        "seeds": list(row.seeds),
    }


def _gain(name: str, interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {name: None, f"{name}_ci": None}
    ends = [_round(interval.low), _round(interval.high)]
    return {name: _round(interval.estimate), f"{name}_ci": ends}


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _round(value: float) -> float:
    return round(value, DIGITS) + 0.0  # no negative zero
