"""Successive halving on a clock of our own: who goes on, and that the budget is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from diffuprompt.choosing.deadline import Deadline
from diffuprompt.choosing.halving import Result, Round, Standing, halve, is_level, kept, rounds
from diffuprompt.choosing.question import Candidate
from diffuprompt.choosing.ranking import ranked
from diffuprompt.engine import NULL

PICTURES = 400


def result(right: int, seconds: float = 1.0, total: int = PICTURES) -> Result:
    """Return a result that names the first ``right`` of its pictures."""
    return Result(hits={i: i < right for i in range(total)}, seconds=seconds)


@dataclass
class Lab:
    """Candidates by name: what a fold of one takes in seconds, and how many pictures it names."""

    costs: Mapping[str, float]
    rights: Mapping[str, int]
    now: float = 0.0
    shared: float = 0.0
    calls: list[tuple[str, Round, float]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def ready(self, name: str, what: Round, until: float) -> bool:
        took = min(self.shared, until - self.now)
        self.now += took
        done, self.shared = took == self.shared, self.shared - took
        return done

    def attempt(self, name: str, what: Round, until: float) -> Result | str | None:
        self.calls.append((name, what, until - self.now))
        needs = self.costs[name] * what.folds * what.share
        self.now = min(self.now + needs, max(until, self.now))
        done = self.now < until or math.isclose(self.now, until)
        return result(self.rights[name], needs) if done and needs <= self.calls[-1][2] else None

    def run(self, seconds: float) -> dict[str, Standing[str]]:
        found = halve(
            list(self.costs), rounds(4), seconds, self.attempt, clock=self.clock, ready=self.ready
        )
        return {standing.candidate: standing for standing in found}


EIGHT = {name: 250 + 10 * i for i, name in enumerate("abcdefgh")}


def test_the_better_half_goes_on_until_one_is_left_of_the_last_round() -> None:
    lab = Lab(costs=dict.fromkeys(EIGHT, 1.0), rights=EIGHT)
    found = lab.run(1000)
    tried = [(what.folds, name) for name, what, _ in lab.calls]
    assert [name for folds, name in tried if folds == 1] == list("abcdefgh")
    assert sorted(name for folds, name in tried if folds == 2) == list("efgh")
    last = [name for folds, name in tried if folds == 4]
    assert sorted(last[:2]) == list("gh")
    assert last[2:] == list("fedcba"), "second looks, the best first"
    assert {s.round for s in found.values()} == {2}


def test_a_second_look_that_has_no_time_leaves_what_was_known() -> None:
    costs = {**dict.fromkeys("fgh", 1.0), "e": 60.0}
    found = Lab(costs=costs, rights={name: EIGHT[name] for name in costs}).run(100)
    assert {name: s.round for name, s in found.items()} == {"e": 0, "f": 2, "g": 2, "h": 2}
    assert not found["e"].stopped, "others were better, and a look would take four minutes"


def test_where_all_are_too_slow_the_cheapest_has_what_is_left() -> None:
    found = Lab(costs={"a": 60.0, "b": 80.0}, rights={"a": 1, "b": 2}).run(24)
    assert (found["a"].round, found["b"].round) == (0, None)
    assert found["b"].stopped


@pytest.mark.parametrize("seconds", [5.0, 37.0, 240.0])
@pytest.mark.parametrize("shared", [0.0, 60.0])
def test_shares_add_up_to_the_budget_and_nothing_goes_beyond_it(
    seconds: float, shared: float
) -> None:
    costs = {name: 3.0 * 2**i for i, name in enumerate(EIGHT)}
    lab = Lab(costs=costs, rights=EIGHT, shared=shared)
    lab.run(seconds)
    assert lab.now <= seconds + 1e-9
    greedy = Lab(costs=dict.fromkeys(EIGHT, 1e9), rights=EIGHT)
    greedy.run(seconds)
    first = [share for _, _, share in greedy.calls[:8]]
    assert first == pytest.approx([seconds / 3 / 8] * 8), "a third of the budget, in equal parts"


def test_what_the_cheap_ones_leave_goes_to_the_expensive_one() -> None:
    lab = Lab(costs={"a": 0.0, "b": 0.0, "c": 100.0}, rights={"a": 10, "b": 20, "c": 30})
    found = lab.run(75)  # a round has 25 s, a quarter of the epochs of c takes all of them
    assert found["c"].round == 0
    assert found["c"].stopped, "two folds in the second round are too many"


def test_who_cannot_be_told_from_the_best_goes_on() -> None:
    close, far = 398, 300
    standings = [
        Standing(candidate=name, round=0, result=result(right))
        for name, right in (("best", PICTURES), ("far", far), ("close", close), ("farther", 200))
    ]
    assert set(kept(standings)) == {"best", "close"}, "a half of four"
    error = np.std([1] * 2 + [0] * 398, ddof=1) / math.sqrt(PICTURES)
    assert 2 / PICTURES > error
    assert not is_level(result(close), result(PICTURES))
    few = [
        Standing(candidate=n, round=0, result=result(r, total=9)) for n, r in (("a", 9), ("b", 8))
    ]
    assert set(kept(few)) == {"a", "b"}, "of nine pictures one is no difference"


def test_the_fastest_of_those_that_are_level_wins() -> None:
    slow, fast, bad = (Candidate(learner=name) for name in ("slow", "fast", "bad"))
    standings = [
        Standing(candidate=slow, round=2, result=result(9, 50.0, total=10)),
        Standing(candidate=fast, round=2, result=result(8, 2.0, total=10)),
        Standing(candidate=bad, round=2, result=result(2, 0.0, total=10)),
    ]
    rows, winner, best = ranked(standings, rounds(4))
    assert (winner, best) == (fast, slow)
    assert [row.learner for row in rows] == ["slow", "fast", "bad"]
    assert [row.level for row in rows] == [True, True, False]
    assert rows[1].difference is not None
    assert rows[1].difference.estimate == pytest.approx(-10)
    assert rows[0].low is not None
    assert rows[0].low < 90 < rows[0].high


@pytest.mark.parametrize(("seconds", "wins"), [(12.0, "more"), (12.1, "fast")])
def test_of_the_fastest_the_most_accurate_wins(seconds: float, wins: str) -> None:
    """Ten seconds of training are no reason to take what was right less often."""
    named = {"more": result(9, seconds, total=10), "fast": result(8, 2.0, total=10),
             "alike": result(9, 500.0, total=10)}  # fmt: skip
    standings = [
        Standing(candidate=Candidate(learner=n), round=2, result=r) for n, r in named.items()
    ]
    rows, winner, _ = ranked(standings, rounds(4))
    assert all(row.level for row in rows)
    assert winner.learner == wins


def test_of_the_equally_accurate_the_fastest_is_the_best() -> None:
    """Or one would be called the most accurate and another taken for its speed."""
    slow, fast = (Candidate(learner=name) for name in ("slow", "fast"))
    standings = [
        Standing(candidate=slow, round=2, result=result(9, 50.0, total=10)),
        Standing(candidate=fast, round=2, result=result(9, 2.0, total=10)),
    ]
    rows, winner, best = ranked(standings, rounds(4))
    assert (winner, best, rows[0].learner) == (fast, fast, "fast")


def test_one_that_was_stopped_wins_where_it_is_better_on_the_same_pictures() -> None:
    costs = {"zero": 0.1, "gda": 1.0, "tip": 2.0, "lp": 3.0, "tipf": 5.0, "coop": 100.0}
    rights = dict(zip(costs, (200, 280, 300, 310, 320, 390), strict=True))
    told = Lab(costs=costs, rights=rights).run(500)
    assert (told["coop"].round, told["coop"].stopped, told["tipf"].round) == (1, True, 2)
    standings = [
        Standing(candidate=Candidate(learner=n), round=s.round, result=s.result, stopped=s.stopped)
        for n, s in told.items()
    ]
    rows, winner, best = ranked(standings, rounds(4))
    assert winner == best == Candidate(learner="coop")
    assert (rows[0].learner, rows[0].state, rows[0].level) == ("coop", "stopped", True)
    assert [row.learner for row in rows if row.level] == ["coop"]
    standings[-1].result = result(rights["tipf"])
    assert ranked(standings, rounds(4))[1].learner == "tipf", "no better on the same pictures"
    standings[-2].failure = "the loss is not finite"
    rows, winner, _ = ranked(standings, rounds(4))
    assert winner.learner == "coop", "what fails is not taken, and the next best stands back"
    assert {row.learner: row.state for row in rows}["tipf"] == "failed"


def test_a_deadline_stops_at_a_step_and_keeps_what_is_complete() -> None:
    now, steps = [0.0], []
    deadline = Deadline(NULL, lambda: now[0])

    def work(total: int) -> None:
        with deadline.task("work", total=total) as task:
            for step in range(total):
                now[0] += 1
                steps.append(step)
                task.advance()

    with deadline.at(3.0) as ended:
        work(5)
    assert ended.stopped
    assert steps == [0, 1, 2]
    with deadline.at(now[0] + 2) as ended:
        work(2)
    assert not ended.stopped, "the last step ends the work"
    with deadline.at(now[0]) as ended:
        work(1)
    assert ended.stopped, "nothing begins when the time is up"
    work(1)  # and outside there is no deadline
