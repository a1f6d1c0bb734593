"""``summary.json`` of the plug-in study: its answer in numbers, a function of records alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffuprompt.errors import DataError
from diffuprompt.report.aggregate import Section, build_sections
from diffuprompt.report.compare import Comparison, default_comparisons
from diffuprompt.report.load import SUMMARY_SCHEMA, load_records
from diffuprompt.report.names import OWN
from diffuprompt.report.stats import Interval
from diffuprompt.report.study import DECIDING, Gain, Study, plugin_study

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
    target.write_text(summary_text(paths), encoding="utf-8")


def summary_text(paths: Sequence[Path]) -> str:
    """Return the summary of the records under ``paths`` as JSON text."""
    return json.dumps(make_summary(paths), indent=2, ensure_ascii=False) + "\n"


def make_summary(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the summary: one entry a data set (with its setting where one has several).

    Raises `DataError` as the loader does, or when there is no record of diffusion.
    """
    studies: list[tuple[Section, Study]] = []
    for section in build_sections(load_records(paths)):
        study = plugin_study(section, default_comparisons(section))
        if study is not None:
            studies.append((section, study))
    if not studies:
        where = ", ".join(map(str, paths))
        raise DataError(f"{where}: no record scores diffusion beside own prompts on base and new")
    counts = Counter(section.setting.dataset for section, _ in studies)
    out: dict[str, Any] = {"schema_name": SUMMARY_SCHEMA, "method": METHOD}
    for section, study in studies:
        setting = section.setting
        name = setting.dataset if counts[setting.dataset] == 1 else setting.title
        out[name] = _entry(section, study)
    return out


def _entry(section: Section, study: Study) -> dict[str, Any]:
    setting = section.setting
    return {
        "backbone": setting.backbone,
        "protocol": setting.protocol,
        "shots": setting.shots,
        "seeds": list(study.seeds),
        "mean_h_gain": _round(study.mean.estimate),
        "mean_h_gain_ci": _ends(study.mean),
        "num_learners": len(study.gains),
        "learners_above_controls": len(study.above),
        "names_above_controls": list(study.above),
        "learners": [_learner(gain) for gain in study.gains],
    }


def _learner(gain: Gain) -> dict[str, Any]:
    out: dict[str, Any] = {"learner": gain.learner}
    for name, row in (("own", gain.own), ("diffusion", gain.generated)):
        values = {m: row.mean(m) for m in ("base", "new", "h")}
        out[name] = {m: None if v is None else _round(v) for m, v in values.items()}
    out |= {"h_gain": _round(gain.h.estimate), "h_gain_ci": _ends(gain.h)}
    for control in DECIDING:
        out |= _over(control, gain.over.get(control))
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
