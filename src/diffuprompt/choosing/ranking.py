"""The ranked table: accuracies with intervals, differences paired by picture, and who wins.

The one-standard-error rule (Breiman et al. 1984): of those whose accuracy is within one standard
error of the best one's, paired by picture, the one that trains fastest wins. What takes longer has
to show that it is better. Ten seconds are not longer: of those that take no more than that beyond
the fastest, the most accurate wins. Who was stopped before the last round takes the place of the
best where it is better by more than a standard error on the pictures that both were held out on,
after as many epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

import numpy as np

from diffuprompt.choosing.halving import Result, Round, Standing, is_level
from diffuprompt.choosing.question import Candidate, Question
from diffuprompt.report import Interval, paired_bootstrap, paired_error, wilson

NOTICED_S = 10.0  # more of training and scoring: what a person who chooses a method would notice

State = Literal["finalist", "dropped", "stopped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate; accuracies in per cent, of held-out training pictures.

    Attributes:
        learner, generator: what it is.
        state: "finalist" (came through the last round that anybody finished), "dropped" (others
            were better), "stopped" (its time ran out) or "failed".
        accuracy, low, high: of its last finished round, with Wilson's 95 % interval.
        pictures: how many were held out in it.
        folds, share: how many folds, and which share of the recipe's epochs.
        difference: from the best one, in points, on the same pictures, with a 95 % interval.
        seconds: of training and scoring in that round.
        level: within one standard error of the best one.
        note: why it failed.
    """

    learner: str
    generator: str
    state: State
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    pictures: int = 0
    folds: int = 0
    share: float = 1.0
    difference: Interval | None = None
    seconds: float = 0.0
    level: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was found.

    Attributes:
        question: what was asked.
        rows: the ranking, the best first.
        winner: the candidate to take.
        best: the most accurate one.
        left_out: what could not be tried -> why.
        pictures: training pictures.
        seconds: wall time.
        complete: whether nothing was stopped for want of time.
    """

    question: Question
    rows: tuple[Row, ...]
    winner: Candidate
    best: Candidate
    left_out: Mapping[str, str]
    pictures: int
    seconds: float
    complete: bool

    def to_json(self) -> dict[str, Any]:
        """Return a JSON form."""
        question = self.question
        return {
            "data": question.data,
            "shots": question.shots,
            "seed": question.seed,
            "budget_s": 60 * question.minutes,
            "seconds": self.seconds,
            "complete": self.complete,
            "training_pictures": self.pictures,
            "rule": (
                "one standard error: of those level with the best the fastest to train, "
                f"and of those within {NOTICED_S:.0f} s of it the most accurate"
            ),
            "winner": asdict(self.winner),
            "best": asdict(self.best),
            "ranking": [asdict(row) for row in self.rows],
            "left_out": dict(self.left_out),
        }


def ranked(
    standings: Sequence[Standing[Candidate]], plan: Sequence[Round]
) -> tuple[tuple[Row, ...], Candidate, Candidate]:
    """Return the rows, the winner and the best; at least one has a result and did not fail."""
    found = [(s, s.result, s.round) for s in standings if s.result and s.round is not None]
    found.sort(key=lambda each: (each[2], each[1].accuracy), reverse=True)
    sound = [each for each in found if not each[0].failure]
    last = max(number for _, _, number in sound)
    finals = [(s.candidate, result) for s, result, number in sound if number == last]
    best, top = max(finals, key=_merit)
    level = [pair for pair in finals if is_level(pair[1], top)]
    for standing, result, number in sound:
        as_long = plan[number].share == plan[last].share
        if number < last and standing.stopped and as_long and _is_better(result, top):
            best, top = standing.candidate, result
            level = [(best, top)]
    winner = _winner(level)
    by = {c: i for i, (c, _) in enumerate(level)}
    found.sort(key=lambda each: each[0].candidate != best)  # the best first, else as they are
    rows = []
    for standing, result, number in found:
        final = number == last and not standing.failure
        state: State = (
            "failed" if standing.failure else "stopped" if standing.stopped else "dropped"
        )
        low, high = wilson(sum(result.hits.values()), len(result.hits))
        rows.append(
            Row(
                learner=standing.candidate.learner,
                generator=standing.candidate.generator,
                state="finalist" if final else state,
                accuracy=100 * result.accuracy,
                low=low,
                high=high,
                pictures=len(result.hits),
                folds=plan[number].folds,
                share=plan[number].share,
                difference=_difference(result, top),
                seconds=result.seconds,
                level=standing.candidate in by,
                note=standing.failure,
            )
        )
    rows += [
        Row(
            learner=s.candidate.learner,
            generator=s.candidate.generator,
            state="failed" if s.failure else "stopped",
            note=s.failure,
        )
        for s in standings
        if s.result is None
    ]
    return tuple(rows), winner, best


def _winner(level: Sequence[tuple[Candidate, Result]]) -> Candidate:
    """Return the most accurate of the fastest."""
    fastest = min(result.seconds for _, result in level)
    fast = [pair for pair in level if pair[1].seconds <= fastest + NOTICED_S]
    return max(fast, key=_merit)[0]


def _merit(pair: tuple[Candidate, Result]) -> tuple[float, float]:
    """Return what makes one better than another: accuracy, and among equals speed."""
    return (pair[1].accuracy, -pair[1].seconds)


def _is_better(result: Result, best: Result) -> bool:
    """Whether a result is more than one standard error above another on the pictures of both."""
    shared = sorted(result.hits.keys() & best.hits.keys())
    a, b = ([r.hits[p] for p in shared] for r in (result, best))
    return fmean(a) - fmean(b) > paired_error(a, b) + 1e-12


def _difference(result: Result, best: Result) -> Interval:
    """Return the difference in points on the pictures that both were held out on."""
    shared = sorted(result.hits.keys() & best.hits.keys())
    a, b = (np.array([[r.hits[p] for p in shared]]) for r in (result, best))
    return paired_bootstrap({"all": a}, {"all": b})["all"]
