"""``summary.json`` of the plug-in study: its answer in numbers, a function of records alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffuprompt.errors import DataError
from diffuprompt.report import (
    OWN,
    Comparison,
    Interval,
    Section,
    build_sections,
    default_comparisons,
    find_records,
    load_records,
    write_text,
)
from diffuprompt.studies.plug_in.design import DECIDING
from diffuprompt.studies.plug_in.gains import Gain, Gains, find_gains

SCHEMA = "diffuprompt.plugin-summary/1"
FILE = "summary.json"  # in the folder of the records
DIGITS = 4  # of points; far below what the intervals resolve, far above rounding of float64
METHOD = (
    "H is the harmonic mean of base and new accuracy in per cent. Every h_gain is the mean over "
    "seeds of the difference of the seeds' own H on the same images; own.h and diffusion.h are of "
    "the mean accuracies. Intervals (ci): 95 %, paired bootstrap over seeds and images, 10,000 "
    "resamples; that of mean_h_gain draws the same seeds and images for all learners. "
    "learners_above_controls counts learners whose intervals of diffusion minus regression and of "
    "diffusion minus shuffled have both their lower ends above 0."
)


def write_summary(paths: Sequence[Path], target: Path) -> None:
    """Write the summary of the records under ``paths``.

    Raises:
        DataError: as the loader does; or the records hold no plug-in study; or ``target`` would
            not lie in the folder of its records, where ``report --check`` looks for them.
    """
    if [path.resolve() for path in paths] != [target.parent.resolve()]:
        raise DataError(
            f"{target}: a summary lies in the folder of the records that it is made of; give that "
            f"folder alone: diffuprompt report {target.parent} --summary {target}"
        )
    write_text(target, summary_text(paths))


def update_summary(folder: Path) -> bool:
    """Write the summary of a folder of records into it, and say whether there is one to write.

    Raises `DataError` as the loader does.
    """
    if not folder.is_dir() or not find_records([folder]).files or not _find([folder]):
        return False
    write_summary([folder], folder / FILE)
    return True


def summary_text(paths: Sequence[Path]) -> str:
    """Return the summary of the records under ``paths`` as JSON text."""
    return json.dumps(make_summary(paths), indent=2, ensure_ascii=False) + "\n"


def make_summary(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the summary: one entry per data set (with its setting where one has several).

    Raises `DataError` as the loader does, or when there is no record of diffusion.
    """
    found = _find(paths)
    if not found:
        where = ", ".join(map(str, paths))
        raise DataError(f"{where}: no record scores diffusion beside own prompts on base and new")
    counts = Counter(section.setting.dataset for section, _ in found)
    out: dict[str, Any] = {"schema_name": SCHEMA, "method": METHOD}
    for section, gains in found:
        setting = section.setting
        name = setting.dataset if counts[setting.dataset] == 1 else setting.title
        out[name] = _entry(section, gains)
    return out


def _find(paths: Sequence[Path]) -> list[tuple[Section, Gains]]:
    found = []
    for section in build_sections(load_records(paths)):
        gains = find_gains(section, default_comparisons(section))
        if gains is not None:
            found.append((section, gains))
    return found


def _entry(section: Section, gains: Gains) -> dict[str, Any]:
    setting = section.setting
    return {
        "backbone": setting.backbone,
        "protocol": setting.protocol,
        "shots": setting.shots,
        "seeds": list(gains.seeds),
        "mean_h_gain": _round(gains.mean.estimate),
        "mean_h_gain_ci": _ends(gains.mean),
        "num_learners": len(gains.each),
        "learners_above_controls": len(gains.above),
        "names_above_controls": list(gains.above),
        "learners": [_learner(gain) for gain in gains.each],
    }


def _learner(gain: Gain) -> dict[str, Any]:
    out: dict[str, Any] = {"learner": gain.learner}
    for name, row in (("own", gain.own), ("diffusion", gain.generated)):
        values = {m: row.mean(m) for m in ("base", "new", "h")}
        out[name] = {m: None if v is None else _round(v) for m, v in values.items()}
    out |= {"h_gain": _round(gain.h.estimate), "h_gain_ci": _ends(gain.h)}
    for control in DECIDING:
        out |= _over(control, gain.over_control(control))
    out["above_controls"] = gain.is_above_controls
    out["seeds"] = list(gain.over[OWN].seeds)
    out["n"] = {m: int(gain.own.hits[m].shape[1]) for m in ("base", "new")}
    return out


def _over(control: str, comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {f"h_over_{control}": None, f"h_over_{control}_ci": None}
    interval = comparison.intervals["h"]
    return {
        f"h_over_{control}": _round(interval.estimate),
        f"h_over_{control}_ci": _ends(interval),
    }


def _ends(interval: Interval) -> list[float]:
    return [_round(interval.low), _round(interval.high)]


def _round(value: float) -> float:
    return round(value, DIGITS) + 0.0  # no negative zero
