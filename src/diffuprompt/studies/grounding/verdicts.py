"""What the targets of the study come to, computed from its records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from diffuprompt.report import Interval, difference, plain
from diffuprompt.studies.grounding.design import (
    GLOBALS,
    LEAST_EXPRESSIONS,
    MEASURE_NAMES,
    METHODS,
    OURS,
    SEEDS,
    TARGETS,
    Target,
)
from diffuprompt.studies.grounding.findings import WorldFindings, title_of
from diffuprompt.studies.grounding.trained_apart import seeds_apart

Status = Literal["met", "missed", "open"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one target comes to in one world.

    Attributes:
        world: its name.
        target: what is asked for, in words.
        status: open where a row or one of the seeds is missing that the target is asked of.
        by: points above the target (or below it, negative); None where nothing was measured.
        text: the measured numbers, in words.
    """

    world: str
    target: str
    status: Status
    by: float | None
    text: str

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        missed = self.status == "missed" and self.by is not None
        verb = f"MISSED by {-(self.by or 0.0):.2f} points" if missed else self.status.upper()
        return f"{self.target}: {verb}. {self.text}"


def find_verdicts(found: WorldFindings) -> tuple[Verdict, ...]:
    """Return the verdict on every target that is asked for in a world."""
    world = found.world.name
    wanted = [target for target in TARGETS if world in target.worlds]
    out = [_above(found, target) for target in wanted]
    return (*out, _rivals(found), _size(found))


def _above(found: WorldFindings, target: Target) -> Verdict:
    asked = _asked(target)
    gain = found.difference(OURS, target.above, target.measure)
    if gain is None:
        return _unknown(found, asked, [OURS, target.above])
    by = gain.estimate - target.points
    text = f"Measured: {_points(gain)}{_seeds(found)}."
    if apart := seeds_apart(found, OURS, target.above):
        seeds = ", ".join(map(str, apart))
        text += f" With seed {seeds} the two read different trainings of one generator."
    return Verdict(
        world=found.world.name,
        target=asked,
        status=_status(found, is_met=by >= 0),
        by=by,
        text=text,
    )


def _asked(target: Target) -> str:
    name, other = MEASURE_NAMES[target.measure], title_of(target.above)
    if target.points > 0:
        return f"{name} at least {target.points:g} points above {other}"
    lower = f" by more than {-target.points:g} points" if target.points < 0 else ""
    return f"{name} not below {other}{lower}"


def _rivals(found: WorldFindings) -> Verdict:
    asked = "Ahead of every rival at R@1 with intervals apart"
    ours = found.mean(OURS, "r1")
    rivals = {e.key: found.mean(e.key, "r1") for e in METHODS if e.group == "rival"}
    known = {key: mean for key, mean in rivals.items() if mean is not None}
    if ours is None or not known:
        return _unknown(found, asked, [OURS, *rivals])
    gaps = {key: ours.low - mean.high for key, mean in known.items()}
    nearest = min(gaps, key=lambda key: gaps[key])
    apart = [key for key, gap in gaps.items() if gap > 0]
    missing = [title_of(key) for key in rivals if key not in known]
    of_nearest = found.difference(OURS, nearest, "r1")
    text = (
        f"{len(apart)} of {len(known)} measured rivals are apart; the nearest is "
        f"{title_of(nearest)} at {plain_mean(known[nearest])} against {plain_mean(ours)}, paired "
        f"difference {_points(of_nearest)}{_seeds(found)}."
    )
    if missing:
        text += f" Not measured: {', '.join(missing)}."
    status = _status(found, is_met=len(apart) == len(known))
    if missing and status == "met":
        status = "open"
    return Verdict(world=found.world.name, target=asked, status=status, by=gaps[nearest], text=text)


def _size(found: WorldFindings) -> Verdict:
    total, short = found.own.total, found.own.total - LEAST_EXPRESSIONS
    asked = f"At least {LEAST_EXPRESSIONS:,} test expressions"
    if not total:
        return _unknown(found, asked, [OURS])
    text = f"There are {total:,} on {found.own.num_pictures:,} pictures."
    status: Status = "met" if short >= 0 else "missed"
    return Verdict(world=found.world.name, target=asked, status=status, by=None, text=text)


def _unknown(found: WorldFindings, asked: str, keys: Sequence[str]) -> Verdict:
    absent = [title_of(key) for key in keys if key not in found.rows]
    text = f"Missing: {', '.join(absent)}." if absent else "The rows share no seed."
    return Verdict(
        world=found.world.name,
        target=asked,
        status="open",
        by=None,
        text=text,
    )


def _status(found: WorldFindings, *, is_met: bool) -> Status:
    if len(found.rows[OURS].seeds) < len(SEEDS):
        return "open"
    return "met" if is_met else "missed"


def _seeds(found: WorldFindings) -> str:
    """Say so where fewer seeds are there than the targets are asked of."""
    there = len(found.rows[OURS].seeds)
    return "" if there >= len(SEEDS) else f", on {there} of {len(SEEDS)} seeds"


def presets_sentences(found: WorldFindings) -> Iterator[str]:
    """Say of the paper's and the released form whether they localise, and what speaks for it.

    Prompts localise when they are worth more than global prompts that know no mask, though these
    learn from all expressions. Noise masks learn from the same ones.
    """
    reason = (
        "probably because its condition is one pooled vector for the picture and one for the "
        "caption, which say what is there and hardly where"
    )
    for key in ("paper", "released"):
        gain = found.difference(key, GLOBALS, "r1")
        if gain is None:
            continue
        says = "localises" if gain.low > 0 else f"does not localise, {reason}"
        noise = _points(found.difference(key, "noise", "r1"))
        yield (
            f"{title_of(key)} {says}. R@1 against global prompts that know no mask: "
            f"{_points(gain)}; against noise masks: {noise}{_masks(found, key)}."
        )


def _masks(found: WorldFindings, key: str) -> str:
    theirs, ours = found.mean(key, "mask_iou"), found.mean(OURS, "mask_iou")
    if theirs is None:
        return ""
    beside = "" if ours is None else f" (Diff-Prompt's by {ours.estimate:.1f} %)"
    return f"; its masks overlap the true ones by {theirs.estimate:.1f} %{beside}"


def plain_mean(interval: Interval) -> str:
    """Return a mean in per cent with its interval."""
    return f"{interval.estimate:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


def _points(interval: Interval | None) -> str:
    return f"{plain(difference(interval))} points" if interval is not None else "not paired"
