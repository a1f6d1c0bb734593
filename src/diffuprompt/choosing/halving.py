"""Successive halving under a budget of time (Jamieson and Talwalkar 2016, arXiv 1502.07943).

Every round has an equal part of the time that is left; within a round every candidate has an equal
part of what is left of it, the cheapest first, so that what they do not need goes to the expensive
ones. What candidates share is made ready outside of their time, in half of what is left at most.
The better half goes on, and whoever cannot be told from the best (one standard error of the paired
difference): with few pictures most of them, with many just the half. What is left after the last
round is spent on second looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from diffuprompt.report import paired_error

C = TypeVar("C")
Tried = TypeVar("Tried", contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Round:
    """How much is tried: on so many folds, with this share of a recipe's epochs."""

    folds: int
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one round told of a candidate.

    Attributes:
        hits: position of a held-out image -> whether it was named rightly.
        seconds: of training and scoring, whenever they were made.
    """

    hits: Mapping[int, bool]
    seconds: float

    @property
    def accuracy(self) -> float:
        """The share of the held-out images that were named rightly, from 0 to 1."""
        return sum(self.hits.values()) / len(self.hits)


@dataclass(kw_only=True)
class Standing(Generic[C]):
    """How far a candidate came: its last finished round (None: none) and what that told."""

    candidate: C
    round: int | None = None
    result: Result | None = None
    stopped: bool = False
    failure: str = ""


class Attempt(Protocol[Tried]):
    """Carries out a round of one candidate until ``until``."""

    def __call__(self, candidate: Tried, what: Round, until: float) -> Result | str | None:
        """Return what it told, a text that says why it failed, or None where time ran out."""


Ready = Callable[[C, Round, float], bool]
"""Makes what a candidate shares with others until a time; returns whether it is there."""


def rounds(folds: int) -> tuple[Round, ...]:
    """Return the rounds: one fold and a quarter of the epochs, two folds, then all of them."""
    found = (Round(folds=1, share=0.25), Round(folds=2), Round(folds=folds))
    return found if folds > 2 else found[:2]


def halve(
    candidates: Sequence[C],
    plan: Sequence[Round],
    seconds: float,
    attempt: Attempt[C],
    *,
    clock: Callable[[], float],
    ready: Ready[C] = lambda candidate, what, until: True,
    partners: Callable[[Sequence[C]], Sequence[C]] = lambda kept: (),
    told: Callable[[str], None] = lambda line: None,
) -> list[Standing[C]]:
    """Return how far every candidate came.

    Args:
        candidates: the cheapest first.
        plan: the rounds.
        seconds: the budget; what has begun may only go beyond it as far as ``attempt`` does.
        attempt: carries out a round of one candidate.
        clock: seconds on a clock that never goes back.
        ready: makes what a candidate shares with others.
        partners: what joins after the first round, of those that are kept.
        told: takes a line after every attempt.
    """
    race = _Race(plan, clock() + seconds, attempt, ready, clock, told)
    standings = {c: Standing(candidate=c) for c in candidates}
    alive = list(candidates)
    for number in range(len(plan)):
        left = race.left / (len(plan) - number)
        for place, candidate in enumerate(alive):
            where = f"round {number + 1} of {len(plan)}, {place + 1} of {len(alive)}"
            took = race.run(standings[candidate], number, left / (len(alive) - place), where)
            left = max(0.0, left - took)
        alive = kept([s for s in standings.values() if s.round == number])
        if number == 0:
            for partner in partners(alive):
                standings[partner] = Standing(candidate=partner)
                alive.append(partner)
        if not alive:
            break
    _second_looks(race, list(standings.values()))
    return list(standings.values())


@dataclass(kw_only=False)
class _Race(Generic[C]):
    """What all attempts have in common."""

    plan: Sequence[Round]
    end: float
    attempt: Attempt[C]
    ready: Ready[C]
    clock: Callable[[], float]
    told: Callable[[str], None]

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return max(0.0, self.end - self.clock())

    def run(self, standing: Standing[C], number: int, share: float, where: str) -> float:
        """Carry out a round of one candidate, and return the seconds of its own that it took."""
        found, start, what = None, self.clock(), self.plan[number]
        if self.ready(standing.candidate, what, start + self.left / 2):
            start = self.clock()
            found = self.attempt(standing.candidate, what, min(self.end, start + share))
        else:
            start = self.clock()
        if isinstance(found, Result):
            standing.round, standing.result, standing.stopped = number, found, False
        elif found is None:
            standing.stopped = True
        else:
            standing.failure = found
        took = self.clock() - start
        self.told(f"{where}: {_line(standing, number)}; {self.left:.0f} s left")
        return took


def _second_looks(race: _Race[C], standings: Sequence[Standing[C]]) -> None:
    """Spend what is left: those that were dropped have the last round too, the best first.

    Few pictures and few epochs may have misled. Those that were stopped before they told anything
    have the first round before that, in their order.
    """
    last = len(race.plan) - 1
    for standing in standings:
        if standing.result is None and not standing.failure and race.left:
            race.run(standing, 0, race.left, "what is left")
    behind = [(s, s.result) for s in standings if s.result is not None and s.round != last]
    for standing, result in sorted(behind, key=lambda pair: -pair[1].accuracy):
        if race.left and not standing.failure:
            was = standing.stopped
            race.run(standing, last, race.left, "a second look")
            # what a second look has no time for was dropped, and not stopped
            standing.stopped = was and standing.result is result


def kept(finished: Sequence[Standing[C]]) -> list[C]:
    """Return who goes on: the better half, and whoever is within one standard error of the best.

    Those that took the least time come first.
    """
    found = [(s, s.result) for s in finished if s.result is not None]
    if not found:
        return []
    found.sort(key=lambda pair: -pair[1].accuracy)
    half, best = math.ceil(len(found) / 2), found[0][1]
    on = [p for i, p in enumerate(found) if i < half or is_level(p[1], best)]
    on.sort(key=lambda pair: pair[1].seconds)
    return [standing.candidate for standing, _ in on]


def is_level(result: Result, best: Result) -> bool:
    """Whether a result is within one standard error of the best one, paired by image."""
    shared = sorted(result.hits.keys() & best.hits.keys())
    a, b = ([r.hits[p] for p in shared] for r in (result, best))
    # a single picture more is one standard error, whatever the rounding
    return best.accuracy - result.accuracy <= paired_error(a, b) + 1e-12


def _line(standing: Standing[C], number: int) -> str:
    name = getattr(standing.candidate, "title", standing.candidate)
    if standing.failure:
        return f"{name} failed"
    if standing.round != number or standing.result is None:
        return f"{name} stopped, its share of the time is up"
    right, of = sum(standing.result.hits.values()), len(standing.result.hits)
    return f"{name} named {100 * right / of:.1f} % of {of} held-out pictures rightly"
